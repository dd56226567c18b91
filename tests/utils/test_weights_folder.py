"""Weights as the Hugging Face Hub keeps them: written whole or not at all, and read with one line for every fault."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.utils.errors import UserError
from samsod.utils.weights import read_safetensors
from samsod.utils.weights_folder import (
    digest_of_tensors,
    read_weights_folder,
    weights_digest,
    weights_file,
    write_weights_folder,
)

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2]), "c": torch.ones(3, 3).T[:2]}


def write(folder: Path, **content: Any) -> Path:
    write_weights_folder(folder, {"model": TENSORS, "step": 3, **content}, "# card\n")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_weights_folder(folder, "weights of ours")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (write(tmp_path / "new" / "k"), write(tmp_path / "empty")):
        read = read_weights_folder(folder, "")
        tensors = read.pop("model")
        assert tensors.keys() == TENSORS.keys() and all(torch.equal(tensors[key], TENSORS[key]) for key in TENSORS)
        assert read == {"step": 3, "tensors_sha256": digest_of_tensors(TENSORS)} and "model" not in read
        assert (folder / "README.md").read_text() == "# card\n" and len(list(folder.iterdir())) == 3
        assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_files_that_may_not_be_read_are_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "k")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert "model.safetensors: cannot be read: Is a directory; expected" in refused(folder)

    def denied(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "config.json: cannot be read as JSON ([Errno 13] Permission denied" in refused(folder)
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read: Permission denied; expected weights"):
        read_safetensors(folder / "model.safetensors", "weights")


def test_a_link_and_the_folder_one_is_in_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and len(list((tmp_path / "there").iterdir())) == 3
    monkeypatch.chdir(tmp_path / "here")
    write(Path())
    assert len(list((tmp_path / "here").iterdir())) == 3


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    folder = write(tmp_path / "k")
    before = weights_digest(folder)
    with pytest.raises(UserError, match="k: is not empty; name a new folder"):
        write(folder, step=4)
    assert weights_digest(folder) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file, expected a folder"):
        write(tmp_path / "file")


def test_a_full_disk_leaves_nothing(small_disk: Path) -> None:
    large = {"model": {"a": torch.zeros(60_000)}}
    with pytest.raises(OSError, match="No space left on device"):
        write_weights_folder(small_disk / "k", large, "# card\n")
    assert list(small_disk.iterdir()) == []


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "k")
    weights, config = folder / "model.safetensors", folder / "config.json"
    data = weights.read_bytes()
    weights.write_bytes(data[:-4])
    assert refused(folder).startswith(f"{weights}: damaged, or no safetensors file")
    torch.save({"model": TENSORS}, weights)
    assert refused(folder).startswith(f"{weights}: damaged, or no safetensors file")
    weights.unlink()
    assert refused(folder) == f"{weights}: no such file; expected that of weights of ours"
    for text in ("{", "[" * 100_000, "[1]"):
        config.write_text(text)
        assert refused(folder).startswith(f"{config}: ")
    config.unlink()
    assert refused(folder) == f"{folder}: a folder without config.json; expected weights of ours"


def test_without_safetensors_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r"k: to write it samsod needs safetensors: pip install 'samsod\[weights\]'"):
        write(tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_of_all_that_predictions_depend_on(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert weights_digest(one) == weights_digest(two) and weights_file(one) == one / "model.safetensors"
    config = json.loads((two / "config.json").read_text())
    (two / "config.json").write_text(json.dumps({**config, "step": 4}))
    assert weights_digest(one) != weights_digest(two)
    assert weights_file(one / "config.json") == one / "config.json"
