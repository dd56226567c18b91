"""Figures of training runs: loss, validation, gradient-norm ratio (paper Fig. 3), pairwise cosines (Fig. 4); of shifts.

What goes into a figure is gathered first, as panels of series; drawing them is a second step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samsod.drawing.run_curves import Curve, Rows, curve, smoothed
from samsod.drawing.style import (
    COLUMN,
    GLYPH,
    PAGE,
    PANEL_HEIGHT,
    SMALL,
    Theme,
    drawing,
    fitting,
    label_plainly,
    line_style,
    note,
    save_figure,
    visible,
)
from samsod.evaluation.shifts import ShiftScores
from samsod.utils.errors import UserError, nearest

FIGURES = ("all", "loss", "validation", "ratio", "cosines")
RATIOS = "gradient_ratios"
"""Where a row of the log has the ratios of the adapters' gradients, by `first/second`."""


@dataclass(frozen=True)
class Series:
    """One curve of a panel: its label, its points and which of the theme's styles it has."""

    label: str
    points: Curve
    style: int


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Args:
        name: What the figure is called, as in `FIGURES`.
        title: Above the axes.
        series: The curves.
        missing: One line for every run that has no such curve, with the reason.
        reference: Where a horizontal line is drawn; None for no line.
        log: Logarithmic ordinate.
        marks: Few points: markers instead of a smoothed curve over a raw one.
        limits: Of the ordinate; None follows the data.
        remark: What its values mean, for a caption.
        across: Label of the abscissa.
    """

    name: str
    title: str
    series: list[Series]
    missing: list[str] = field(default_factory=list)
    reference: float | None = None
    log: bool = False
    marks: bool = False
    limits: tuple[float, float] | None = None
    remark: str = ""
    across: str = "step"


def run_panels(runs: Mapping[str, Rows], figure: str = "all", metric: str = "S", ratio: str = "") -> list[Panel]:
    """The panels of a figure.

    Args:
        runs: Rows of metrics.jsonl by the run's name.
        figure: One of `FIGURES`.
        metric: Which validation metric.
        ratio: Of which two modalities' gradients, `rgb/thermal`; empty: of every two.

    Raises:
        UserError: A single figure of which no run has a curve; one line per run. Or no run logs such a ratio.
    """
    makers = {
        "loss": lambda: [_loss(runs)],
        "validation": lambda: [_validation(runs, metric)],
        "ratio": lambda: _ratios(runs, ratio),
        "cosines": lambda: _cosines(runs),
    }
    panels = [panel for name, make in makers.items() if figure in ("all", name) for panel in make()]
    if figure != "all" and not any(panel.series for panel in panels):
        raise UserError(*(line for panel in panels for line in panel.missing))
    return panels


def shift_panels(scores: ShiftScores, distances: Sequence[int], metric: str) -> list[Panel]:
    """A panel for each data set: a score of the final map and of each stream's over how far images are moved."""
    panels = []
    for dataset, by_map in scores.items():
        series = [Series(name, (list(distances), values), index) for index, (name, values) in enumerate(by_map.items())]
        panels.append(Panel("shift", f"{metric}, {dataset}", series, marks=True, across="shift in pixels"))
    return panels


def draw_panels(panels: Sequence[Panel], path: Path, theme: Theme) -> None:
    """Draws panels below and beside each other; errors are those of `save_figure`."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    width = COLUMN if columns == 1 else PAGE
    with drawing(width, PANEL_HEIGHT * rows, theme) as canvas:
        places = list(canvas.subplots(rows, columns, squeeze=False).flat)
        for panel, place in zip(panels, places, strict=False):
            draw_panel(panel, place, theme)
        for place in places[len(panels) :]:
            place.set_axis_off()
        save_figure(canvas, path)


def draw_panel(panel: Panel, axes: Any, theme: Theme) -> None:
    """Draws a panel on matplotlib's axes, the legend below; in an empty one stands what is missing."""
    axes.set_title(fitting(panel.title, COLUMN, 8), loc="left")
    if not panel.series:
        note(axes, "\n".join(panel.missing), theme)
        return
    if panel.reference is not None:
        axes.axhline(panel.reference, color=theme.ink, linewidth=0.6)
    handles = [_draw_series(axes, series, panel.marks, theme) for series in panel.series]
    if panel.log:
        axes.set_yscale("log")
        label_plainly(axes.yaxis)
    axes.set_xlabel(panel.across)
    if panel.limits:
        axes.set_ylim(panel.limits)
    labels = [series.label for series in panel.series]
    _legend(axes, handles, labels, panel.missing)


def _draw_series(axes: Any, series: Series, marks: bool, theme: Theme) -> Any:
    """The raw curve faintly with the smoothed one over it, or points; what the legend shows of it."""
    steps, values = series.points
    style = line_style(series.style, theme)
    if marks:
        return axes.plot(steps, values, marker=style.marker, **style.line)[0]
    axes.plot(steps, values, color=style.colour, alpha=0.35, linewidth=0.6)
    return axes.plot(steps, smoothed(values), **style.line)[0]


def _legend(axes: Any, handles: list[Any], labels: Sequence[str], missing: Sequence[str]) -> None:
    nothing = axes.plot([], [], linestyle="none")[0]
    lines = [*labels, *missing]
    shown = [visible(fitting(line, COLUMN - 0.8, SMALL)) for line in lines]
    longest = max(map(len, shown)) * SMALL * GLYPH / 72 + 0.5
    columns = min(len(shown), max(1, int((COLUMN - 0.3) / longest)))
    handles = [*handles, *([nothing] * len(missing))]
    axes.legend(handles, shown, loc="upper center", bbox_to_anchor=(0.5, -0.26), ncols=columns)


def _loss(runs: Mapping[str, Rows]) -> Panel:
    curves = {name: curve(rows, "loss") for name, rows in runs.items()}
    return Panel("loss", "loss, summed over the streams", _series(curves))


def _validation(runs: Mapping[str, Rows], metric: str) -> Panel:
    curves = {name: curve(rows, "validation", metric) for name, rows in runs.items()}
    missing = [f"{name}: logs no validation {metric}" for name, (steps, _) in curves.items() if not steps]
    return Panel("validation", f"validation {metric}", _series(curves), missing, marks=True)


def _ratios(runs: Mapping[str, Rows], wanted: str) -> list[Panel]:
    """A panel for every pair of modalities, or for the one that is wanted, either way round."""
    known = list(dict.fromkeys(pair for rows in runs.values() for row in rows for pair in row.get(RATIOS) or {}))
    either_way = [*known, *map(_reversed, known)]
    if wanted and known and wanted not in either_way:
        raise UserError(
            f"no ratio {wanted!r} is logged{nearest(wanted, either_way)}; known: {', '.join(known)}, or the other way"
        )
    pairs = [wanted] if wanted and known else known
    missing = [_why_no_ratio(name, rows) for name, rows in runs.items()]
    return [_ratio(runs, pair) for pair in pairs] or [Panel("ratio", "gradient norms of the adapters", [], missing)]


def _ratio(runs: Mapping[str, Rows], pair: str) -> Panel:
    curves = {name: _ratio_curve(rows, pair) for name, rows in runs.items()}
    missing = [_why_no_ratio(name, runs[name], pair) for name, (steps, _) in curves.items() if not steps]
    first, second = pair.split("/")
    return Panel(
        "ratio",
        f"gradient norm, {first} : {second} adapters",
        _series(curves),
        missing,
        reference=1.0,
        log=True,
        remark=f"above 1 the {first} adapters' gradient is the larger one",
    )


def _ratio_curve(rows: Rows, pair: str) -> Curve:
    steps, values = curve(rows, RATIOS, pair)
    if steps:
        return steps, values
    inverse = [(step, 1 / value) for step, value in zip(*curve(rows, RATIOS, _reversed(pair)), strict=True) if value]
    return [step for step, _ in inverse], [value for _, value in inverse]


def _reversed(pair: str) -> str:
    return "/".join(reversed(pair.split("/")))


def _cosines(runs: Mapping[str, Rows]) -> list[Panel]:
    """A panel for every run and group that has pairs of losses; a pair has one style in all of them."""
    pairs_of = {name: _pairs(rows) for name, rows in runs.items()}
    order = list(dict.fromkeys(pair for groups in pairs_of.values() for pairs in groups.values() for pair in pairs))
    panels = []
    for name, groups in pairs_of.items():
        of_run = f"{name}, " if len(runs) > 1 else ""
        for group, pairs in groups.items():
            points = {pair: curve(runs[name], "groups", group, "cosines", pair) for pair in pairs}
            series = [Series(pair, points[pair], order.index(pair)) for pair in pairs]
            title = f"cosines, {of_run}{group.replace('_', ' ')}"
            remark = "below 0 the gradients of two losses are in conflict"
            panels.append(Panel("cosines", title, series, reference=0.0, limits=(-1.05, 1.05), remark=remark))
    missing = [_why_no_cosines(name, runs[name]) for name, groups in pairs_of.items() if not groups]
    return panels + [Panel("cosines", "cosines", [], missing)] * bool(missing)


def _series(curves: Mapping[str, Curve]) -> list[Series]:
    """A series per run, with the run's own style even where another run has no curve."""
    return [Series(name, points, index) for index, (name, points) in enumerate(curves.items()) if points[0]]


def _pairs(rows: Rows) -> dict[str, list[str]]:
    """Per parameter group the pairs of losses whose cosines are logged."""
    pairs: dict[str, dict[str, None]] = {}
    for row in rows:
        for group, values in (row.get("groups") or {}).items():
            pairs.setdefault(group, {}).update(dict.fromkeys(values.get("cosines") or {}))
    return {group: list(names) for group, names in pairs.items() if names}


def _why_no_ratio(name: str, rows: Rows, pair: str = "") -> str:
    groups = {group for row in rows for group in row.get("groups") or {}}
    if not groups:
        return f"{name}: logs no gradients"
    adapters = [f"{modality}_adapter" for modality in pair.split("/")] if pair else []
    lacking = [adapter for adapter in adapters if adapter not in groups]
    if lacking or not pair:
        return f"{name}: no ratio, has {f'no {lacking[0]}' if lacking else 'the adapters of one modality alone'}"
    return f"{name}: no ratio, the gradient of {adapters[1]} is zero"


def _why_no_cosines(name: str, rows: Rows) -> str:
    groups = [values for row in rows for values in (row.get("groups") or {}).values()]
    if any(list(values.get("norms") or {}) == ["sum"] for values in groups):
        return f"{name}: the losses were summed, no pairs"
    return f"{name}: a single loss, no pairs" if groups else f"{name}: logs no gradients"
