"""Checkpoints: complete or absent, holding what was trained and where the rest comes from."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.modeling.samsod import SaliencyModel
from samsod.utils.errors import UserError
from samsod.utils.files import written_whole
from samsod.utils.trees import flat
from samsod.utils.weights import copy_strictly, read_tensors

FORMAT = "samsod-checkpoint-1"
PREFIX = "step_"

FREE = (
    *("output", "imports", "model.weights", "model.init_from", "engine.device", "test"),
    *("data.root", "data.train", "data.val", "data.test", "data.workers", "data.skip_bad"),
    *("data.cache", "data.cache_gib", "data.cache_dir"),
    *("train.epochs", "train.steps", "train.log_every", "train.eval_every", "train.checkpoint_every"),
    *("train.checkpoint_steps", "train.tensorboard", "train.keep", "train.resume"),
)
"""Settings a resumed run may change; what the data and the weights hold is checked by their contents."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint beside `path`, flushes it to the disk and only then gives it the name.

    Raises:
        OSError: It cannot be written; what was there before is intact, and the message says so.
    """
    data = io.BytesIO()  # torch.save straight to the file would not say that the disk is full
    torch.save({"format": FORMAT, "versions": _versions(), **content}, data)
    try:
        with written_whole(path) as partial, partial.open("wb") as file:
            file.write(data.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        before = newest(path.parent)
        kept = f"the previous checkpoint {before} is intact" if before else "there is no previous checkpoint"
        raise OSError(error.errno, f"not saved: {error.strerror or error}; {kept}", str(path)) from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a samsod checkpoint without running any code in it.

    Raises:
        UserError: One line: no such file, damaged, or no samsod checkpoint.
    """
    expected = "a checkpoint of tools/train_net.py"
    content = read_tensors(path, expected)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a samsod checkpoint (format {FORMAT}); expected {expected}")
    return content


def model_state(model: SaliencyModel) -> dict[str, Tensor]:
    """The part of the model a checkpoint must hold."""
    return model.saved_state()


def load_model_state(model: SaliencyModel, content: Mapping[str, Any], path: str | Path) -> None:
    """Loads a checkpoint's weights, strictly.

    Raises:
        UserError: It was trained on another base file, or keys are missing, unexpected or of another shape.
    """
    check_base(content.get("base"), base_of(model), path)
    trained = flat(content.get("config", {}).get("model", {}), "model.")
    here = flat(asdict(model.config), "model.")
    changed = [f"{key}={trained[key]}" for key in trained if trained[key] != here.get(key) and key not in FREE]
    hint = f" (it was trained with {', '.join(changed)})" if changed else ""
    copy_strictly(model_state(model), content["model"], f"{path}: does not fit the configured model{hint}")


def base_of(model: SaliencyModel) -> dict[str, str] | None:
    """Name, size and SHA-256 of the SAM2 file under the model; None when its weights are all in the checkpoint."""
    path = model.base_file()
    if path is None:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 24):
            digest.update(chunk)
    return {"file": path.name, "size": model.config.size, "sha256": digest.hexdigest()}


def check_base(trained: Mapping[str, str] | None, here: Mapping[str, str] | None, path: str | Path) -> None:
    """Raises UserError, naming both, when a checkpoint was trained on another SAM2 file than the configured one."""
    if trained and here and trained["sha256"] != here["sha256"]:
        raise UserError(
            f"{path}: trained on {trained['file']} (SHA-256 {trained['sha256'][:12]}), "
            f"but model.weights is {here['file']} ({here['sha256'][:12]})"
        )
    if trained and not here:
        raise UserError(f"{path}: holds no encoder; set model.weights to {trained['file']}, on which it was trained")
    if here and not trained:
        raise UserError(f"{path}: holds the encoder it was trained with; leave model.weights out")


def check_settings(content: Mapping[str, Any], config: Mapping[str, Any], path: str | Path) -> None:
    """Raises UserError, listing them, when a run is resumed with settings that would make it another run."""
    before, now = flat(content["config"]), flat(config)
    changed = [
        f"{key} was {before[key]}, now {now.get(key)}"
        for key in before
        if before[key] != now.get(key) and not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]
    if changed:
        raise UserError(
            f"{path}: cannot go on with other settings: {'; '.join(changed)}; "
            "choose another output (model.init_from takes over the weights)"
        )


def resume_source(resume: str, folder: Path) -> Path | None:
    """The checkpoint `train.resume` asks for, None for a fresh start.

    Raises:
        UserError: The folder holds a run that would be overwritten.
    """
    found = newest(folder)
    if resume == "auto":
        return found
    if resume == "never":
        if found:
            raise UserError(f"{found}: the output folder holds a run already; choose another output")
        return None
    if found and Path(resume).name < found.name:
        raise UserError(f"{found}: the output folder holds a run that got further; choose another output")
    return Path(resume)


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
    with written_whole(best) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("samsod", "torch", "sam2", "numpy")}
