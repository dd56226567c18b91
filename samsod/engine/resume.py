"""Where a run starts from (`train.resume`), and what it must not change on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samsod.config.settings import MODEL_FILES, changes, within
from samsod.engine.checkpoint import KINDS, load_checkpoint, newest
from samsod.utils.errors import UserError
from samsod.utils.weights import file_digest

FREE = (
    *("output", "imports", *MODEL_FILES, "engine.device", "engine.checkpointing", "engine.compile"),
    *("engine.timeout_minutes", "test"),
    *("data.root", "data.train", "data.val", "data.test", "data.workers", "data.skip_bad", "data.sizes"),
    *("data.cache", "data.cache_gib", "data.cache_dir"),
    *("train.epochs", "train.steps", "train.log_every", "train.eval_every", "train.checkpoint_every"),
    *("train.checkpoint_steps", "train.tensorboard", "train.keep", "train.resume"),
)
"""Settings a resumed run may change; what the data and the weights hold is checked by their contents."""
LENGTH = ("train.epochs", "train.steps")
"""Not free when the learning rate follows the run's length."""
SCORING = ("test.normalize_maps", "test.resize")
"""Not free when a best checkpoint was chosen by scores."""
PER_RANK = (
    *("output", "imports", *MODEL_FILES, "engine.device", "engine.checkpointing", "engine.compile", "train.resume"),
    *("data.root", "data.train", "data.val", "data.test", "data.workers", "data.cache", "data.cache_gib"),
    "data.cache_dir",
)
"""Settings that ranks on different machines may have of their own; likewise."""


@dataclass(frozen=True)
class Source:
    """What a run starts from.

    Attributes:
        path: The checkpoint; None for a fresh start.
        origin: SHA-256 of the file that `train.resume` names when the run in this folder begins with it; else empty.
        remarks: What the log should say.
    """

    path: Path | None
    origin: str = ""
    remarks: tuple[str, ...] = ()


def find_source(resume: str, folder: Path) -> Source:
    """What `train.resume` asks for.

    Args:
        resume: auto, previous, never, or a file.
        folder: Where the run's checkpoints lie.

    Raises:
        UserError: The folder holds a run that would be overwritten, or a file cannot be used.
    """
    if resume == "previous":
        return _last_whole(folder)
    found = newest(folder)
    if resume == "auto":
        return Source(found)
    if resume == "never":
        if found:
            raise UserError(f"{found}: the output folder holds a run already; choose another output")
        return Source(None)
    origin, file = file_digest(resume), Path(resume)
    if found and found.resolve() != file.resolve():
        content = load_resumable(found, folder)
        if content["origin"] == origin:  # the same command again
            return Source(found)
        if load_resumable(file, folder)["step"] < content["step"]:
            raise UserError(f"{found}: the output folder holds a run that got further; choose another output")
    return Source(folder / file.name if file.parent.resolve() == folder.resolve() else file, origin)


def load_resumable(path: Path, folder: Path) -> dict[str, Any]:
    """A checkpoint with all that a run needs to go on.

    Raises:
        UserError: It cannot be gone on from; of those in the run's own folder the line says what to do.
    """
    try:
        content = load_checkpoint(path)
        if missing := KINDS.keys() - content.keys():
            raise UserError(f"{path}: cannot be gone on from: it lacks {', '.join(sorted(missing))}")
    except UserError as error:
        before = newest(folder, path) if path.parent == folder else None
        hint = f"; train.resume=previous goes on from the one before, {before.name}" if before else ""
        raise UserError(f"{error}{hint}") from None
    return content


def _last_whole(folder: Path) -> Source:
    """The newest checkpoint that can be read; those after it are renamed, so that nothing goes on from them again."""
    damaged: dict[Path, str] = {}
    found = newest(folder)
    while found:
        try:
            load_resumable(found, folder)
        except UserError as error:
            damaged[found], found = str(error).partition(";")[0], newest(folder, found)
        else:
            break
    if damaged and not found:
        raise UserError(f"{folder}: none of the checkpoints can be read; choose another output to start anew")
    for path in damaged:
        path.rename(path.with_name(f"{path.name}.damaged"))
    return Source(found, remarks=tuple(f"{fault}; renamed to {path.name}.damaged" for path, fault in damaged.items()))


def check_settings(content: Mapping[str, Any], config: Mapping[str, Any], path: str | Path) -> None:
    """Raises UserError, listing them, when a run is resumed with settings that would make it another run."""
    changed = changes(content["config"], config)
    bound = (LENGTH * (config["train"]["schedule"] == "poly")) + (SCORING * (content["best"] is not None))
    told = [line for key, line in changed.items() if key in bound or not within(key, FREE)]
    if told:
        raise UserError(
            f"{path}: cannot go on with other settings: {'; '.join(told)}; "
            "choose another output (model.init_from takes over the weights)"
        )
