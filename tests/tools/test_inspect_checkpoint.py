"""tools/inspect_checkpoint.py as a user runs it, in this process, which saves seconds; no file runs code."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.engine.checkpoint import save_checkpoint
from tests.places import ROOT

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def inspect(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inspect_checkpoint.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "tools" / "inspect_checkpoint.py"), run_name="__main__")
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return inspect


def test_text_json_and_files_that_are_none(tmp_path: Path, run: Run) -> None:
    save_checkpoint(tmp_path / "k.pt", {"model": {"a": torch.zeros(2)}, "base": None, "config": {}})
    code, out, _ = run(tmp_path / "k.pt", "--json")
    assert code == 0 and json.loads(out)["model"]["parameters in the file"] == 2

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"format": "samsod-checkpoint-2", "model": Bomb()}, tmp_path / "bomb.pt")
    code, _, error = run(tmp_path / "bomb.pt")
    assert code == 2 and error.count("\n") == 1 and not (tmp_path / "executed").exists()


def test_a_checkpoint_is_written_to_be_shared(tmp_path: Path, run: Run) -> None:
    save_checkpoint(tmp_path / "k.pt", {"model": {"a": torch.zeros(2)}, "base": None, "config": {}})
    folder = tmp_path / "folder"
    code, out, _ = run(tmp_path / "k.pt", "--export", folder)
    assert code == 0 and out == f"written: {folder}; samsod.Predictor.from_checkpoint reads it\n"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "tensors in the file: 1" in run(folder)[1]
    for arguments, said in (
        (("--export", folder), "folder: is not empty; name a new folder"),
        (("--weights", "sam2.pt"), "--weights is for --with-encoder"),
        (("--with-encoder",), "--with-encoder and --tested are for --export"),
    ):
        code, _, error = run(tmp_path / "k.pt", *arguments)
        assert code == 2 and error.count("\n") == 1 and said in error
