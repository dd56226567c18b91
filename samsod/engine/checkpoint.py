"""Checkpoints: complete or absent, holding what was trained and where the rest comes from."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.errors import UserError
from samsod.modeling.samsod import SaliencyModel

FORMAT = "samsod-checkpoint-1"
PREFIX = "step_"


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint beside `path`, flushes it to the disk and only then gives it the name."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, "versions": _versions(), **content}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a samsod checkpoint without running any code in it.

    Raises:
        UserError: One line: no such file, damaged, or no samsod checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged or no checkpoint ({reason})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a samsod checkpoint (expected format {FORMAT})")
    return content


def model_state(model: SaliencyModel) -> dict[str, Tensor]:
    """The part of the model a checkpoint must hold; see the model's `saved_prefixes`."""
    return {key: value for key, value in model.state_dict().items() if key.startswith(model.saved_prefixes())}


def load_model_state(model: SaliencyModel, content: Mapping[str, Any], path: str | Path) -> None:
    """Loads a checkpoint's weights, strictly.

    Raises:
        UserError: It was trained on another base file, or keys are missing, unexpected or of another shape.
    """
    state = content["model"]
    check_base(content.get("base"), base_of(model), path)
    wanted = model_state(model)
    faults = [f"{key} is missing" for key in sorted(wanted.keys() - state.keys())]
    faults += [f"{key} is unexpected" for key in sorted(state.keys() - wanted.keys())]
    faults += [
        f"{key} is {list(state[key].shape)}, expected {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if faults:
        raise UserError(f"{path}: does not fit the configured model: {'; '.join(faults)}")
    with torch.no_grad():
        for key, value in wanted.items():
            value.copy_(state[key])


def base_of(model: SaliencyModel) -> dict[str, str] | None:
    """Name, size and SHA-256 of the SAM2 file under the model; None when its weights are all in the checkpoint."""
    config = model.config
    if not config.weights or not model.config.freeze_encoder or "" in model.saved_prefixes():
        return None
    path = Path(config.weights)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 24):
            digest.update(chunk)
    return {"file": path.name, "size": config.size, "sha256": digest.hexdigest()}


def check_base(trained: Mapping[str, str] | None, here: Mapping[str, str] | None, path: str | Path) -> None:
    """Raises UserError, naming both, when a checkpoint was trained on another SAM2 file than the configured one."""
    if trained and here and trained["sha256"] != here["sha256"]:
        raise UserError(
            f"{path}: trained on {trained['file']} (SHA-256 {trained['sha256'][:12]}), "
            f"but model.weights is {here['file']} ({here['sha256'][:12]})"
        )
    if trained and not here:
        raise UserError(f"{path}: holds no encoder; set model.weights to {trained['file']}, on which it was trained")


def newest(folder: Path) -> Path | None:
    """The checkpoint of the highest step in a folder; files still being written have another name."""
    return max(folder.glob(f"{PREFIX}*.pt"), key=lambda path: path.name, default=None)


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"{PREFIX}{step:08d}.pt"


def keep_last(folder: Path, count: int) -> None:
    """Removes all but the newest `count` checkpoints of steps."""
    for path in sorted(folder.glob(f"{PREFIX}*.pt"))[:-count]:
        path.unlink()


def mark_best(path: Path, best: Path) -> None:
    """Gives a finished checkpoint the second name `best`, without copying where the file system can."""
    partial = best.with_name(f".{best.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(path, partial)
    except OSError:
        shutil.copyfile(path, partial)
    partial.replace(best)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("samsod", "torch", "sam2", "numpy")}
