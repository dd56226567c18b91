"""Images in rows and columns, laid out to the hundredth of an inch: titles above, scores below, names at the left."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samsod.data.pictures import shrunk
from samsod.drawing.style import DPI, GLYPH, SMALL, Theme, drawing, fitting, save_figure
from samsod.utils.errors import UserError

GAP, EDGE, LABEL = 0.04, 0.03, 0.14
LINE = SMALL * 1.25 / 72
BAR = 0.06
TINY = 5.5
TALLEST = 1.5  # height of a row, as a multiple of its columns' width
HIGHEST = 200
"""Of a picture, in inches; matplotlib draws no more than 65,535 pixels."""
HEAT_SHARE = 0.65
BOLD_GLYPH = 0.68


@dataclass(frozen=True, eq=False)
class Tile:
    """One image of a mosaic.

    Args:
        image: uint8, `[H,W]` grey or `[H,W,3]` RGB.
        caption: Texts below it, side by side as far as they fit, and whether each is in bold.
        heat: Laid over it, float `[h,w]`, stretched to its size; its column has a range in `Mosaic.ranges`.
    """

    image: np.ndarray
    caption: Sequence[tuple[str, bool]] = ()
    heat: np.ndarray | None = None


@dataclass(frozen=True)
class Mosaic:
    """Rows of tiles under column titles.

    Args:
        titles: Of the columns.
        rows: Name and tiles of each row; a row may be shorter than the titles.
        ranges: By column what the ends of the colour scale of its heat maps stand for; drawn below the column.
        remark: A line of text at the bottom.
    """

    titles: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Tile]]]
    ranges: dict[int, tuple[float, float]] | None = None
    remark: str = ""


def draw_mosaics(mosaics: Sequence[Mosaic], path: Path, theme: Theme, width: float) -> None:
    """Draws mosaics one below the other, their columns equally wide, into a picture of a width in inches.

    Raises:
        UserError: The picture would be too high, or cannot be written.
    """
    columns = max(len(mosaic.titles) for mosaic in mosaics)
    side = (width - LABEL - 2 * EDGE - GAP * (columns - 1)) / columns
    plans = [_Plan(mosaic, side) for mosaic in mosaics]
    height = sum(plan.height for plan in plans) + 2 * EDGE + 2 * GAP * (len(plans) - 1)
    if height > HIGHEST:
        raise UserError(f"a picture {height:.0f} inches high (at most {HIGHEST}): take fewer images or a smaller width")
    with drawing(width, height, theme, layout=None) as figure:
        pen = _Pen(figure, width, height, theme)
        top = EDGE
        for plan in plans:
            plan.draw(pen, top)
            top += plan.height + 2 * GAP
        save_figure(figure, path)


class _Pen:
    """Places axes and texts by inches from the upper left corner."""

    def __init__(self, figure: Any, width: float, height: float, theme: Theme) -> None:
        self.figure, self.width, self.height, self.theme = figure, width, height, theme

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Axes without ticks, thinly framed: a white map on white paper has an edge too."""
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=self.theme.faint, linewidth=0.4)
        return axes

    def text(self, left: float, top: float, text: str, **options: Any) -> None:
        """A text whose anchor lies there; aligned left and top unless `options` say otherwise."""
        options = {"ha": "left", "va": "top", "fontsize": SMALL, **options}
        self.figure.text(left / self.width, 1 - top / self.height, text, **options)


class _Plan:
    """Where the parts of a mosaic go."""

    def __init__(self, mosaic: Mosaic, side: float) -> None:
        self.mosaic, self.side = mosaic, side
        letters = max(4, int(side * 72 / (SMALL * GLYPH)))
        self.titles = [_wrapped(title, letters, side) for title in mosaic.titles]
        self.title_height = max(title.count("\n") + 1 for title in self.titles) * LINE + GAP
        self.row_heights = [_row_height(tiles, side) for _, tiles in mosaic.rows]
        captions = [tile.caption for _, tiles in mosaic.rows for tile in tiles]
        longest = max((len(text) for caption in captions for text, _ in caption), default=1)
        most = max(map(len, captions))
        self.abreast = max(1, min(most, int(side / (longest * SMALL * BOLD_GLYPH / 72))))
        lines = [-(-max(len(tile.caption) for tile in tiles) // self.abreast) for _, tiles in mosaic.rows]
        self.captions = [LINE * count + GAP * bool(count) for count in lines]
        self.height = self.title_height + sum(self.row_heights) + sum(self.captions) + GAP * len(mosaic.rows)
        self.height += (BAR + LINE) * bool(mosaic.ranges) + LINE * bool(mosaic.remark)

    def draw(self, pen: _Pen, top: float) -> None:
        """Draws the mosaic from `top` on."""
        bottom = top + self.title_height - GAP
        for column, title in enumerate(self.titles):
            pen.text(self._left(column) + self.side / 2, bottom, title, ha="center", va="bottom")
        top += self.title_height
        for (name, tiles), height, caption in zip(self.mosaic.rows, self.row_heights, self.captions, strict=True):
            label = fitting(name, height + caption, SMALL)
            pen.text(EDGE, top + height / 2, label, rotation=90, va="center")
            for column, tile in enumerate(tiles):
                self._draw_tile(pen, tile, column, top, height)
            top += height + caption + GAP
        for column, limits in (self.mosaic.ranges or {}).items():
            self._draw_scale(pen, column, top, limits)
        top += (BAR + LINE) * bool(self.mosaic.ranges)
        if self.mosaic.remark:
            pen.text(self._left(0), top + GAP, self.mosaic.remark)

    def _left(self, column: int) -> float:
        return EDGE + LABEL + column * (self.side + GAP)

    def _draw_tile(self, pen: _Pen, tile: Tile, column: int, top: float, height: float) -> None:
        axes = pen.axes(self._left(column), top, self.side, height)
        image = shrunk(tile.image, round(self.side * DPI))  # more would make a PDF of photographs huge
        extent = (0, image.shape[1], image.shape[0], 0)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent)
        if tile.heat is not None:
            low, high = (self.mosaic.ranges or {})[column]
            look = {"cmap": "viridis", "alpha": HEAT_SHARE, "interpolation": "bilinear"}
            axes.imshow(tile.heat, vmin=low, vmax=high, extent=extent, **look)
        for index, (text, strong) in enumerate(tile.caption):
            line, place = divmod(index, self.abreast)
            abreast = min(self.abreast, len(tile.caption) - line * self.abreast)
            middle = self._left(column) + (place + 0.5) * self.side / abreast
            look = {"ha": "center", "weight": "bold" if strong else "normal"}
            pen.text(middle, top + height + GAP + line * LINE, fitting(text, self.side, SMALL), **look)

    def _draw_scale(self, pen: _Pen, column: int, top: float, limits: tuple[float, float]) -> None:
        left, width = self._left(column) + GAP / 2, self.side - GAP
        axes = pen.axes(left, top, width, BAR)
        extent = (0, 1, 0, 1)
        # Over the middle grey that a map lies over on average.
        axes.imshow(np.full((1, 1), 128), cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto")
        axes.imshow(np.linspace(0, 1, 256)[None], cmap="viridis", alpha=HEAT_SHARE, extent=extent, aspect="auto")
        for value, x, side in ((limits[0], left, "left"), (limits[1], left + width, "right")):
            pen.text(x, top + BAR + 0.02, f"{value:.2g}", ha=side, fontsize=TINY)


def _wrapped(title: str, letters: int, width: float) -> str:
    """A title in two lines at most; what does not fit is cut in its middle."""
    lines = [line for part in title.split("\n") for line in textwrap.wrap(part, letters, break_long_words=False)]
    kept = lines[:1] + [" ".join(lines[1:])] * (len(lines) > 1)
    return "\n".join(fitting(line, width, SMALL) for line in kept)


def _row_height(tiles: Sequence[Tile], side: float) -> float:
    return side * min(TALLEST, max(tile.image.shape[0] / tile.image.shape[1] for tile in tiles))
