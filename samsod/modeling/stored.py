"""Checkpoints as they are read: their form is checked, and no code in them is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from samsod.config.settings import settings
from samsod.utils.errors import UserError
from samsod.utils.weights import read_tensors
from samsod.utils.weights_folder import DIGEST, WEIGHTS, digest_of_tensors, read_weights_folder

FORMAT = "samsod-checkpoint-2"

_NONE = type(None)
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("config", "optimizer", "scaler", "rules", "random", "versions"), (dict,)),
    **dict.fromkeys(("step", "best_step", "evaluated_step", "world_size"), (int,)),
    **dict.fromkeys(("data_id", "val_id", "origin"), (str,)),
    "model": (dict,),
    "base": (dict, _NONE),
    "best": (float, int, _NONE),
    "written": (list,),
}
"""What a checkpoint of a run holds, and of which types."""


def load_checkpoint(path: str | Path, hint: str = "") -> dict[str, Any]:
    """Reads a samsod checkpoint, a file or a folder to share, without running any code in it.

    Args:
        path: The file or the folder.
        hint: What a message on a file of another kind says besides.

    Raises:
        UserError: One line: no such file, damaged, no samsod checkpoint, or one that holds odd things.
    """
    expected = "a checkpoint of tools/train_net.py"
    if os.path.isdir(path):
        expected += ", or a folder of tools/inspect_checkpoint.py --export"
        content: Any = read_weights_folder(Path(path), expected)
    else:
        content = read_tensors(path, expected)
    form = content.get("format") if isinstance(content, dict) else None
    if form != FORMAT:
        found = f", but {form}" if isinstance(form, str) and form.startswith("samsod-") else ""
        raise UserError(f"{path}: not a samsod checkpoint of the format {FORMAT}{found}; expected {expected}{hint}")
    if fault := next(_faults(content), ""):
        raise UserError(f"{path}: altered or damaged: {fault}; expected {expected}")
    return content


def _faults(content: Mapping[str, Any]) -> Iterator[str]:
    """What of a checkpoint's content is not of its type."""
    for key, kinds in KINDS.items():
        if key in content and not isinstance(content[key], kinds):
            yield f"{key} is a {type(content[key]).__name__}, not a {kinds[0].__name__}"
    for key, value in content.get("model", {}).items():
        if not isinstance(value, Tensor):
            yield f"model.{key} is a {type(value).__name__}, not a Tensor"
    for key, value in (content.get("base") or {}).items():
        if not isinstance(value, str):
            yield f"base.{key} is a {type(value).__name__}, not a str"
    if content.get("base") is not None and not {"file", "size", "sha256"} <= content["base"].keys():
        yield "base lacks the name, size or SHA-256 of the file"
    try:
        settings(content.get("config", {}))
    except AttributeError:
        yield "a section of config is not a dict"


def check_tensors(content: Mapping[str, Any], path: str | Path) -> None:
    """Raises UserError when the tensors of a folder to share are others than those that were written there."""
    if content.get(DIGEST) not in (None, digest_of_tensors(content.get("model", {}))):
        raise UserError(
            f"{path}: its {WEIGHTS} is damaged or was altered: its tensors have another SHA-256 than when written"
        )


def base_setting(content: Mapping[str, Any]) -> str:
    """The setting that says where the base file is of a checkpoint that needs one."""
    return "model.encoder_from" if content.get("config", {}).get("model", {}).get("encoder_from") else "model.weights"
