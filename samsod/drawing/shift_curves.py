"""Curves of a score over how far the images of the other modalities are out of register."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samsod.drawing.style import COLUMN, FONT, PAGE, Theme, drawing, fitting, line_style, save_figure, visible
from samsod.evaluation.shifts import ShiftScores

PANEL_HEIGHT = 2.4
PANELS_ABREAST = 2


def draw_shift_curves(scores: ShiftScores, distances: Sequence[int], metric: str, path: Path, theme: Theme) -> None:
    """Draws a panel for each data set, with a line for the final map and for each stream's.

    Raises:
        UserError: The picture cannot be drawn or written.
    """
    columns = min(PANELS_ABREAST, len(scores))
    rows = -(-len(scores) // columns)
    width = COLUMN if columns == 1 else PAGE
    with drawing(width, PANEL_HEIGHT * rows, theme) as canvas:
        panels = canvas.subplots(rows, columns, squeeze=False).flat
        for panel in panels[len(scores) :]:
            panel.set_axis_off()
        for panel, (dataset, by_map) in zip(panels, scores.items(), strict=False):
            for index, (name, values) in enumerate(by_map.items()):
                style = line_style(index, theme)
                panel.plot(distances, values, marker=style.marker, label=visible(name), **style.line)
            panel.set(xlabel="shift in pixels", ylabel=metric, xticks=list(distances))
            panel.set_title(fitting(dataset, width / columns - 0.5, FONT))
            panel.legend()
        save_figure(canvas, path)
