"""What of a checkpoint others can use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samsod.config import stored_config
from samsod.engine.checkpoint import FORMAT
from samsod.utils.errors import about

KEPT = ("step", "best", "best_step", "base", "included", "released", "versions")
"""Entries beside config and tensors."""
LOCAL = {"config": ("output",), "data": ("root", "cache_dir"), "model": ("init_from",), "train": ("resume",)}
"""Settings by section that name files and folders of the machine it was trained on, and say nothing to others."""
OF_SETS = ("family", "split", "name")
"""What is told of a data set."""


def portable(content: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """A checkpoint without what only its own run needs to go on, and without folders of the machine that ran on.

    Args:
        content: The checkpoint, as `load_checkpoint` reads it.
        path: Its file, for messages.

    Returns:
        What a folder to share holds: `model` the tensors, all else of JSON's types.

    Raises:
        UserError: It holds settings that this version does not know, or what is none of JSON's types.
    """
    config = asdict(stored_config(content.get("config", {}), str(path)))
    for name, keys in LOCAL.items():
        section = config if name == "config" else config[name]
        for key in keys:
            del section[key]
    for key in ("train", "val", "test"):
        config["data"][key] = [{part: item[part] for part in OF_SETS} for item in config["data"][key]]
    for key in ("weights", "encoder_from"):
        config["model"][key] = Path(config["model"][key]).name
    config["imports"] = [Path(name).name for name in config["imports"]]
    shared = {"format": FORMAT, **{key: content.get(key) for key in KEPT if key in content}, "config": config}
    try:
        shared = json.loads(json.dumps(shared, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise about(path, f"altered or damaged: it holds what no JSON can ({error})") from None
    return {"base": None, **shared, "model": content.get("model", {})}
