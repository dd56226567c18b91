"""Checkpoints: complete or absent, holding what was trained and where the rest comes from."""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.config.settings import MODEL_FILES
from samsod.modeling.samsod import SaliencyModel
from samsod.modeling.stored import FORMAT as FORMAT
from samsod.modeling.stored import KINDS as KINDS
from samsod.modeling.stored import base_setting, check_tensors
from samsod.modeling.stored import load_checkpoint as load_checkpoint
from samsod.utils.errors import UserError
from samsod.utils.files import written_whole
from samsod.utils.trees import flat
from samsod.utils.weights import copy_strictly, tensors_digest
from samsod.utils.weights_folder import weights_digest

STEP_NAME = re.compile(r"step_(\d{8})\.pt")
BEST = "best.pt"


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint beside `path`, flushes it to the disk and only then gives it the name.

    Raises:
        OSError: It cannot be written; what was there before is intact, and the message says so.
    """
    data = io.BytesIO()  # torch.save straight to the file would not say that the disk is full
    torch.save({"format": FORMAT, "versions": versions(), **content}, data)
    try:
        with written_whole(path) as partial, partial.open("wb") as file:
            file.write(data.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        before = newest(path.parent)
        kept = f"the previous checkpoint {before} is intact" if before else "there is no previous checkpoint"
        raise OSError(error.errno, f"not saved: {error.strerror or error}; {kept}", str(path)) from error


def model_state(model: SaliencyModel) -> dict[str, Tensor]:
    """The part of the model a checkpoint must hold."""
    return model.saved_state()


def load_model_state(model: SaliencyModel, content: Mapping[str, Any], path: str | Path) -> None:
    """Loads a checkpoint's weights, strictly.

    Raises:
        UserError: It was trained on another base file, or keys are missing, unexpected or of another shape; or, in a
            folder to share, values are others than those that were written there.
    """
    check_base(content, model, path)
    trained = flat(content.get("config", {}).get("model", {}), "model.")
    here = flat(asdict(model.config), "model.")
    changed = [f"{key}={trained[key]}" for key in trained if trained[key] != here.get(key) and key not in MODEL_FILES]
    hint = f" (it was trained with {', '.join(changed)})" if changed else ""
    misfit = f"{path}: does not fit the configured model{hint}"
    copy_strictly(model_state(model), content.get("model", {}), misfit)
    check_tensors(content, path)


def base_of(model: SaliencyModel) -> dict[str, str] | None:
    """The file under the model, SAM2's or a checkpoint's; None when its weights are all in the checkpoint.

    Returns:
        Its name, size and SHA-256, and as `tensors` that of what the model has from it: the same weights in another
        form of file are known by that.
    """
    path = model.base_file()
    if path is None:
        return None
    saved = model.saved_state().keys()
    given = tensors_digest((key, value) for key, value in model.state_dict().items() if key not in saved)
    return {"file": path.name, "size": model.config.size, "sha256": weights_digest(path), "tensors": given}


def check_base(content: Mapping[str, Any], model: SaliencyModel, path: str | Path) -> None:
    """Raises UserError, naming both, when a checkpoint was trained on another base file than the model's."""
    trained: Mapping[str, str] | None = content.get("base")
    here, key = base_of(model), f"model.{model.config.base_key}"
    if trained and here and trained["sha256"] != here["sha256"] and trained.get("tensors") != here["tensors"]:
        raise UserError(
            f"{path}: trained on {trained['file']} (SHA-256 {trained['sha256'][:12]}), "
            f"but {key} is {here['file']} ({here['sha256'][:12]})"
        )
    if trained and not here:
        setting = base_setting(content)
        raise UserError(f"{path}: holds no encoder; set {setting} to {trained['file']}, on which it was trained")
    if here and not trained:
        raise UserError(f"{path}: holds the encoder it was trained with; leave {key} out")


def newest(folder: Path, before: Path | None = None) -> Path | None:
    """The checkpoint of the highest step in a folder, or of the highest one below that of `before`."""
    found = (path for path in folder.glob("step_*.pt") if STEP_NAME.fullmatch(path.name))
    return max((path for path in found if before is None or path.name < before.name), default=None)


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step_{step:08d}.pt"


def mark_best(path: Path, best: Path) -> None:
    """Gives a finished checkpoint the second name `best`, without copying where the file system can."""
    with written_whole(best) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the libraries, as they were when first asked for."""
    return {name: _version(name) for name in ("samsod", "torch", "sam2", "numpy")}


def _version(name: str) -> str:
    """A library's version; `unknown` where it was not installed as a package."""
    for distribution in (name, {"sam2": "SAM-2"}.get(name, name)):  # Meta's own package of sam2 is called SAM-2
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
