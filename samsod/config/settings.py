"""Settings by dotted key, and what differs between two configs."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from samsod.config.schema import WEIGHTS_FILES, Config

MODEL_FILES = tuple(f"model.{key}" for key in WEIGHTS_FILES)
"""Settings of the model that name files. They may differ from one use of a checkpoint to the next: what the files hold
is compared."""


def settings(tree: Mapping[str, Any], kind: type = Config, prefix: str = "") -> dict[str, Any]:
    """The settings of a config by dotted key.

    Args:
        tree: The config as nested mappings (`dataclasses.asdict`); what it lacks, as one that an older version stored
            may, has its default.
        kind: The dataclass it was.
        prefix: What the keys begin with.

    Returns:
        A value for every field; lists, and mappings whose keys are free such as `loss.options`, are one value.
    """
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for name, default in dataclasses.asdict(kind()).items():
        value = tree.get(name, default)
        if dataclasses.is_dataclass(hints[name]):
            values |= settings(value, hints[name], f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """`key was this, now that` by dotted key, for every setting that differs; arguments as of `settings`."""
    old, new = settings(before), settings(now)
    return {key: f"{key} was {_shown(old[key])}, now {_shown(new[key])}" for key in new if old[key] != new[key]}


def within(key: str, names: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of `names`, or below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _shown(value: Any) -> str:
    """A value as one would write it in a config."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)
