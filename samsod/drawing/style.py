"""What all figures share: themes, lines that colour-blind readers and greyscale print tell apart, files written whole.

matplotlib is the `plot` extra and is imported only here, when something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samsod.utils.errors import UserError, check_installed, nearest
from samsod.utils.files import check_file_writable, write_bytes

COLUMN, PAGE = 3.5, 7.16
"""Widths of one column and of a two-column page of IEEE journals, in inches; fonts are sized for them."""

ENDINGS = (".png", ".pdf", ".svg")
PANEL_HEIGHT = 2.5
"""Of one set of axes, in inches."""
FONT, SMALL = 8.0, 6.5
"""Font sizes in points."""
GLYPH = 0.6
"""Mean width of a letter of DejaVu Sans, as a share of the font size; only to judge whether a text fits."""
DPI = 300

_DASHES = ((), (5, 1.5), (1.2, 1.2), (5, 1.5, 1.2, 1.5))
_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True)
class Theme:
    """Colours of a figure, as #rrggbb: text and axes in `ink`, grid and reference lines `faint`.

    The lines' `colours` are told apart by colour-blind readers too.
    """

    name: str
    paper: str
    ink: str
    faint: str
    colours: tuple[str, ...]


@dataclass(frozen=True)
class LineStyle:
    """Colour, dashes (points on and off, empty for a solid line) and marker of a line."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Colour and dashes as keyword arguments of matplotlib."""
        return {"color": self.colour, "linestyle": (0, self.dashes) if self.dashes else "-"}


# Okabe and Ito, "Color Universal Design", 2008; on dark paper blue, green and vermilion are lighter, and yellow and
# white take the places of blue and black.
LIGHT = Theme(
    *("light", "#ffffff", "#1a1a1a", "#c8c8c8"),
    ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
)
DARK = Theme(
    *("dark", "#14181d", "#e8e8e8", "#4a525c"),
    ("#56B4E9", "#E69F00", "#00B283", "#CC79A7", "#F0E442", "#E8601C", "#F2F2F2"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def line_style(index: int, theme: Theme) -> LineStyle:
    """The style of a figure's line `index`: dashes and markers alone tell twenty lines apart, for greyscale print."""
    marker = _MARKERS[(index // len(_DASHES)) % len(_MARKERS)]
    return LineStyle(theme.colours[index % len(theme.colours)], _DASHES[index % len(_DASHES)], marker)


def check_picture(path: Path) -> None:
    """Refuses, before any work is done, a picture that could not be drawn or written.

    Raises:
        UserError: An ending nobody knows, a folder that cannot be written to, or matplotlib is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(
            f"{path}: cannot draw a {path.suffix or 'file without ending'}{nearest(path.suffix.lower(), ENDINGS)}; "
            f"expected {', '.join(ENDINGS)}"
        )
    check_file_writable(path)
    import_matplotlib()


def import_matplotlib() -> Any:
    """matplotlib, which is an optional extra.

    Raises:
        UserError: It is not installed.
    """
    check_installed("drawing", "'samsod[plot]'", "matplotlib")
    import matplotlib.figure

    return matplotlib


@contextmanager
def drawing(width: float, height: float, theme: Theme, layout: str | None = "constrained") -> Iterator[Any]:
    """A matplotlib figure in the house style, its sides in inches; draw and save it inside the block.

    matplotlib's layout engine may move the axes; with None they stay where they are put.

    Raises:
        UserError: matplotlib is not installed.
    """
    matplotlib = import_matplotlib()
    with matplotlib.rc_context(_settings(theme)):
        yield matplotlib.figure.Figure(figsize=(width, height), layout=layout)


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as its ending says (.png, .pdf, .svg), whole or not at all; makes the folder.

    Raises:
        UserError: The ending is unknown, or see `check_file_writable`.
        OSError: The disk is full.
    """
    check_picture(path)
    data = figure_bytes(figure, path.suffix.lower().removeprefix("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)


def figure_bytes(figure: Any, kind: str) -> bytes:
    """A figure as the bytes of a `png`, `pdf` or `svg`, the same ones every time."""
    data = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.savefig(data, format=kind, dpi=DPI, metadata=undated)
    return data.getvalue()


def fitting(text: str, width: float, size: float) -> str:
    """A text cut in its middle so that it fits into `width` inches at a font size."""
    room = max(3, int(width * 72 / (size * GLYPH)))
    if len(text) <= room:
        return text
    tail = (room - 1) // 2
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"


def note(axes: Any, text: str, theme: Theme) -> None:
    """Says in an empty panel why it is empty."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=theme.ink, fontsize=SMALL)


def label_plainly(axis: Any) -> None:
    """A logarithmic axis with 0.5, 1, 2, 5 at its ticks; matplotlib would write powers of ten."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def visible(label: str) -> str:
    """A label matplotlib's legends show: they pass over those that start with an underscore."""
    return f" {label}" if label.startswith("_") else label


def _settings(theme: Theme) -> dict[str, Any]:
    text = dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), theme.ink)
    papers = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    return {
        **text,
        **dict.fromkeys(papers, theme.paper),
        "axes.edgecolor": theme.ink,
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": FONT,
        "axes.axisbelow": True,
        "grid.color": theme.faint,
        "grid.linewidth": 0.4,
        "font.size": FONT,
        "font.family": "DejaVu Sans",
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "legend.title_fontsize": SMALL,
        "legend.handlelength": 3.2,
        "legend.labelspacing": 0.3,
        "legend.columnspacing": 1.0,
        "legend.borderaxespad": 0.0,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.5,
        "text.parse_math": False,  # a name may hold dollar signs
        "svg.hashsalt": "samsod",
        "pdf.fonttype": 42,  # journals refuse matplotlib's own kind
    }
