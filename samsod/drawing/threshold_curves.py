"""Precision-recall, F-measure and E-measure curves of methods over the 256 thresholds (paper Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samsod.drawing.style import (
    COLUMN,
    FONT,
    GLYPH,
    PAGE,
    SMALL,
    LineStyle,
    Theme,
    drawing,
    fitting,
    line_style,
    save_figure,
    visible,
)
from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.saliency import mean_scores
from samsod.evaluation.metrics.subject import CURVE

METRICS = ("precision", "recall", "F", "E")
"""What curves are drawn of."""
FIGURES = {"both": ("pr", "f"), "pr": ("pr",), "f": ("f",), "e": ("e",), "all": ("pr", "f", "e")}
"""Which curves each figure has, from top to bottom."""
PANEL_HEIGHT = 2.2
PANELS_ABREAST = 3
LINE_HEIGHT = SMALL * 1.5 / 72
HANDLE = 0.55  # inches a legend needs beside its text
LOWEST_MARGIN = 0.3


@dataclass(frozen=True, eq=False)
class ThresholdCurves:
    """Mean precision, recall, F (β² = 0.3) and E-measure of a method on a data set, `[256]`; entry t: threshold t."""

    precision: np.ndarray
    recall: np.ndarray
    f: np.ndarray
    e: np.ndarray

    @property
    def best(self) -> int:
        """The threshold of the largest F-measure."""
        return int(self.f.argmax())

    @property
    def max_f(self) -> float:
        """The largest F-measure of the mean curve, as in tables."""
        return float(self.f.max())

    @property
    def max_e(self) -> float:
        """The largest E-measure of the mean curve, as in tables."""
        return float(self.e.max())


Curves = dict[str, dict[str, ThresholdCurves]]
"""Data set -> method -> curves."""


def threshold_curves(scores: Scores) -> Curves:
    """The mean curves of scored maps, per data set and method in the order of the scores."""
    curves: Curves = {}
    for method, sets in scores.items():
        for dataset, images in sets.items():
            mean = mean_scores(images.values())
            curves.setdefault(dataset, {})[method] = ThresholdCurves(*(mean[name][:CURVE] for name in METRICS))
    return curves


def lowest_shown(curves: Mapping[str, ThresholdCurves]) -> float:
    """Where the axes start: the point of every method's largest F-measure is well inside, a multiple of 0.1."""
    low = min(min(c.precision[c.best], c.recall[c.best], c.max_f) for c in curves.values())
    return max(0.0, np.floor(10 * (low - LOWEST_MARGIN)) / 10)


def draw_threshold_curves(
    curves: Curves, path: Path, theme: Theme, figure: str = "both", lowest: float | None = None
) -> None:
    """Draws a panel per data set and kind of curve, one above the other, and below them the methods by largest F.

    Args:
        curves: What to draw.
        path: The picture.
        theme: Its colours.
        figure: One of `FIGURES`: `pr` precision over recall, `f` F-measure and `e` E-measure over threshold, `both`
            the first two, or `all`.
        lowest: Where the axes start; None chooses for each data set, see `lowest_shown`.

    Raises:
        UserError: The picture cannot be drawn or written.
    """
    sets = list(curves)
    columns = min(PANELS_ABREAST, len(sets))
    width = COLUMN if columns == 1 else PAGE
    blocks = [sets[i : i + columns] for i in range(0, len(sets), columns)]
    methods = list(dict.fromkeys(method for by_method in curves.values() for method in by_method))
    styles = {method: line_style(index, theme) for index, method in enumerate(methods)}
    kinds = FIGURES[figure]
    legend_columns = _legend_columns(methods, width / columns)
    legend_height = (1 - (-len(methods) // legend_columns)) * LINE_HEIGHT + 0.05
    heights = ([PANEL_HEIGHT] * len(kinds) + [legend_height]) * len(blocks)
    with drawing(width, sum(heights), theme) as canvas:
        places = canvas.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
        for place in places.flat:
            place.set_axis_off()
        for block, names in enumerate(blocks):
            for column, name in enumerate(names):
                rows = places[block * (len(kinds) + 1) :, column]
                start = lowest_shown(curves[name]) if lowest is None else lowest
                for place, kind in zip(rows, kinds, strict=False):
                    draw_curves(place, kind, curves[name], styles, start)
                rows[0].set_title(fitting(name, width / columns - 0.5, FONT))
                _draw_legend(rows[len(kinds)], curves[name], styles, legend_columns, width / columns, figure == "e")
        save_figure(canvas, path)


def draw_curves(
    axes: Any, kind: str, curves: Mapping[str, ThresholdCurves], styles: Mapping[str, LineStyle], lowest: float
) -> None:
    """Draws the methods' curves of one data set; a marker stands where the F- (or E-) measure is largest."""
    axes.set_axis_on()
    for method, curve in curves.items():
        style = styles[method]
        across = curve.recall if kind == "pr" else np.arange(256)
        up = {"pr": curve.precision, "f": curve.f, "e": curve.e}[kind]
        best = int(curve.e.argmax()) if kind == "e" else curve.best
        axes.plot(across, up, marker=style.marker, markevery=[best], **style.line)
    if kind == "pr":
        axes.set(xlabel="recall", ylabel="precision", xlim=(lowest, 1.01), ylim=(lowest, 1.01))
    else:
        axes.set(xlabel="threshold", ylabel=f"{kind.upper()}-measure", xlim=(0, 255), ylim=(lowest, 1.01))
        axes.set_xticks([0, 64, 128, 192, 255])


def _legend_columns(methods: Sequence[str], width: float) -> int:
    longest = max(map(len, methods)) + len("  .000")
    return 2 if len(methods) > 3 and 2 * (HANDLE + longest * SMALL * GLYPH / 72) < width else 1


def _draw_legend(
    axes: Any,
    curves: Mapping[str, ThresholdCurves],
    styles: Mapping[str, LineStyle],
    columns: int,
    width: float,
    by_e: bool,
) -> None:
    """The methods with their largest F-measure (or E-measure), best first and in bold."""
    largest = {method: curve.max_e if by_e else curve.max_f for method, curve in curves.items()}
    ranked = sorted(curves, key=lambda method: -largest[method])
    handles = [axes.plot([], [], marker=styles[method].marker, **styles[method].line)[0] for method in ranked]
    room = width / columns - HANDLE - len("  .000") * SMALL * GLYPH / 72
    labels = [f"{visible(fitting(method, room, SMALL))}  {_short(largest[method])}" for method in ranked]
    title = f"largest {'E' if by_e else 'F'}-measure"
    legend = axes.legend(handles, labels, loc="upper center", ncols=columns, title=title)
    legend.get_texts()[0].set_fontweight("bold")


def _short(value: float) -> str:
    """Three digits, as tables of this field have them: .912."""
    return f"{value:.3f}".removeprefix("0")
