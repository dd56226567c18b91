"""Curves of training runs from their metrics.jsonl; matplotlib is the `plot` extra."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samsod.errors import UserError

Rows = list[dict[str, Any]]
Curve = tuple[list[int], list[float]]

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


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


def plot_runs(runs: Mapping[str, Rows], path: Path, metric: str = "S") -> None:
    """Draws loss, validation metric, gradient ratio (Fig. 3) and decoder cosines (Fig. 4) of runs into one picture.

    Args:
        runs: Rows by the run's name.
        path: The picture, with an ending matplotlib knows (.png, .pdf, .svg).
        metric: Which validation metric.

    Raises:
        UserError: matplotlib is not installed, or does not know the ending.
    """
    try:
        import matplotlib
    except ImportError:
        raise UserError("drawing needs matplotlib: pip install 'samsod[plot]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    loss, validation, ratio, cosines = axes.flat
    for colour, (name, rows) in zip(_cycle(len(runs)), runs.items(), strict=True):
        _draw(loss, curve(rows, "loss"), colour, name)
        validation.plot(*curve(rows, "validation", metric), "o-", color=colour, label=name, markersize=4)
        _draw(ratio, curve(rows, "gradient_ratio"), colour, name)
    _draw_cosines(cosines, runs)
    ratio.axhline(1, color="grey", linewidth=0.8)
    titles = {loss: "loss (sum of the streams')", validation: f"validation {metric}"}
    titles |= {ratio: "gradient norm, RGB : thermal adapters"}
    for axis, title in titles.items():
        axis.set(title=title, xlabel="step")
        axis.legend(fontsize="small")
    ratio.set_yscale("log")
    try:
        figure.savefig(path, dpi=150)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: {error}") from None
    finally:
        pyplot.close(figure)


def _draw_cosines(axis: Any, runs: Mapping[str, Rows]) -> None:
    styles = ("-", "--", ":", "-.")
    for style, (name, rows) in zip(_cycle(len(runs), styles), runs.items(), strict=True):
        pairs: dict[str, float] = next((row["groups"]["decoder"]["cosines"] for row in rows if "groups" in row), {})
        for colour, pair in zip(COLOURS, pairs, strict=False):
            label = pair if len(runs) == 1 else f"{name}: {pair}"
            _draw(axis, curve(rows, "groups", "decoder", "cosines", pair), colour, label, style)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set(title="cosine of the decoder's gradients", xlabel="step", ylim=(-1.05, 1.05))
    if axis.lines[1:]:
        axis.legend(fontsize="small")


def _draw(axis: Any, points: Curve, colour: str, label: str, style: str = "-") -> None:
    """The raw curve faintly, the smoothed one over it."""
    steps, values = points
    axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
    axis.plot(steps, smoothed(values), style, color=colour, label=label, linewidth=1.6)


def _cycle(count: int, items: Sequence[str] = COLOURS) -> list[str]:
    return [items[i % len(items)] for i in range(count)]
