"""Files that are no checkpoint; those of SAM2's weights are tested in tests/modeling/sam2."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.utils.errors import UserError
from samsod.utils.weights import read_tensors


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo ran",)


def message(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a second line, of PyTorch's
        with pytest.raises(UserError) as caught:
            read_tensors(path, "a checkpoint")
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and text.endswith("; expected a checkpoint") and text.isprintable()
    assert "weights_only" not in text and "torch.load" not in text
    return text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>\n<html>", r"(not PyTorch's format: it begins with b'<!DOCTYPE html>\n<html>')"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it begins with b'version https://git-lfs.github.c'"),
        (pickle.dumps({"model": 1}), "not PyTorch's format"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", r"it begins with b'\xff\xd8"),
        (b"", "(it is empty)"),
    ],
)
def test_another_format_is_named_by_how_it_begins(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    assert said in message(path)


@pytest.mark.parametrize("today", [True, False])
def test_a_file_that_runs_code_names_it(tmp_path: Path, today: bool, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "best.pt"
    torch.save({"model": Bomb()}, path, _use_new_zipfile_serialization=today)
    assert f"(to read it is to run {os.system.__module__}.system; only tensors and plain" in message(path)
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=today)
    assert "is to run torch.nn.modules.linear.Linear" in message(path)
    assert capfd.readouterr().out == ""


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"model": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "(it is cut off)" in message(path)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in message(tmp_path)


def test_files_of_old_and_of_today_are_read(tmp_path: Path) -> None:
    for today in (True, False):
        torch.save({"model": torch.arange(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=today)
        assert read_tensors(tmp_path / "a.pt", "a checkpoint")["model"].tolist() == [0, 1, 2]
