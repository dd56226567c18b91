"""tools/inspect_checkpoint.py as a user runs it; no file runs code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from samsod.engine.checkpoint import save_checkpoint
from tests.places import HANG, ROOT


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "inspect_checkpoint.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG)


def test_text_json_and_files_that_are_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "k.pt", {"model": {"a": torch.zeros(2)}, "base": None, "config": {}})
    done = run(tmp_path / "k.pt", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["parameters in the file"] == 2

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"format": "samsod-checkpoint-2", "model": Bomb()}, tmp_path / "bomb.pt")
    done = run(tmp_path / "bomb.pt")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not (tmp_path / "executed").exists()
