"""Curves of training runs, read from their metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samsod.utils.errors import UserError

Rows = list[dict[str, Any]]
Curve = tuple[list[int], list[float]]


def read_run(folder: Path) -> Rows:
    """The rows of a run's metrics.jsonl.

    Raises:
        UserError: There is none, or a line of it is no JSON object.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected the output folder of tools/train_net.py")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append({"step": 0, **json.loads(line)})
        except (ValueError, TypeError):
            raise UserError(f"{path}:{number}: not a JSON object") from None
    if not any("loss" in row for row in rows):
        raise UserError(f"{path}: no step is logged yet")
    return rows


def curve(rows: Rows, *keys: str) -> Curve:
    """Steps and values of a nested key; rows without it, or with null there, are left out."""
    steps, values = [], []
    for row in rows:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            steps.append(int(row["step"]))
            values.append(float(value))
    return steps, values


def smoothed(values: Sequence[float], weight: float | None = None) -> list[float]:
    """Exponential moving average, corrected for its start; by default over about a twelfth of the values."""
    weight = 1 - 1 / max(1.0, len(values) / 12) if weight is None else weight
    result, total, mass = [], 0.0, 0.0
    for value in values:
        total, mass = weight * total + (1 - weight) * value, weight * mass + (1 - weight)
        result.append(total / mass)
    return result
