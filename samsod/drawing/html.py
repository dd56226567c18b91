"""Pieces of an HTML page that opens offline: everything embedded, every text escaped, light and dark, no script."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.drawing.style import COLUMN, THEMES, Theme, drawing, figure_bytes

THUMBNAIL = 240
"""Width of an embedded image in pixels."""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --soft: #595959; --line: #d4d4d4; --band: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e8e8e8; --soft: #a9b1ba; --line: #3a424c; --band: #1d232a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
a { color: inherit; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 2.5rem); }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--band); }
th.text, td.text { text-align: left; }
table.long td + td { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1.5rem; }
.grids { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2rem; }
figure { margin: 0; }
figure img { width: 100%; height: auto; }
figcaption, .note { color: var(--soft); font-size: .9rem; }
table.images { width: 100%; table-layout: fixed; }
table.images th, table.images td { text-align: left; white-space: normal; padding: .25rem; vertical-align: top; }
table.images td { font-size: .9rem; }
table.images img { width: 100%; height: auto; display: block; border: 1px solid var(--line); }
pre { overflow-x: auto; background: var(--band); padding: .75rem; font-size: .85rem; }
summary { cursor: pointer; padding: .3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
"""

escape = html.escape


class Markup(str):
    """Text that is HTML already; everything else is escaped when it enters a page."""

    __slots__ = ()


def page(title: str, body: str) -> str:
    """A whole document; `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def section(name: str, title: str, *parts: str) -> str:
    """A section under a heading; `name` is its anchor, the parts are HTML."""
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n' + "\n".join(parts) + "\n</section>"


def note(text: str) -> str:
    """A remark, escaped."""
    return f'<p class="note">{escape(text)}</p>'


def table(caption: str, heading: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, kind: str = "") -> str:
    """A table in a box that scrolls by itself, `left` columns flush left; all is escaped but cells of `Markup`."""
    sides = [' class="text"' if column < left else "" for column in range(len(heading))]
    head = "".join(f'<th scope="col"{side}>{_cell(text)}</th>' for side, text in zip(sides, heading, strict=True))
    lines = []
    for row in rows:
        cells = zip(sides, row, strict=True)
        lines.append("".join(f"<td{side}>{_cell(text)}</td>" for side, text in cells))
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    # Scrollable boxes take the focus, so that they scroll from the keyboard too.
    return (
        f'<div class="scroll" tabindex="0"><table class="{escape(kind)}">\n'
        f"<caption><span>{escape(caption)}</span></caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def definitions(items: Sequence[tuple[str, str]]) -> str:
    """A list of terms and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{_cell(text)}</dd>" for term, text in items) + "</dl>"


def folded(summary: str, text: str) -> str:
    """Preformatted text behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>{preformatted(text)}</details>"


def preformatted(text: str) -> str:
    """Text as it stands."""
    return f'<pre tabindex="0">{escape(text)}</pre>'


def figure(draw: Callable[[Any, Theme], None], height: float, alt: str, caption: str) -> str:
    """A figure one column wide, drawn for light and for dark pages.

    Args:
        draw: Draws on matplotlib's axes with a theme.
        height: In inches.
        alt: What a reader who cannot see it should know.
        caption: Below it.
    """
    pictures = {}
    for name, theme in THEMES.items():
        with drawing(COLUMN, height, theme) as canvas:
            draw(canvas.subplots(), theme)
            pictures[name] = _data_uri("image/svg+xml", figure_bytes(canvas, "svg"))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{pictures["dark"]}">'
        f'<img src="{pictures["light"]}" alt="{escape(alt)}"></picture>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def image(pixels: np.ndarray, alt: str) -> Markup:
    """A thumbnail, uint8 `[H,W]` grey (as PNG) or `[H,W,3]` RGB (as JPEG)."""
    height, width = pixels.shape[:2]
    if width > THUMBNAIL:
        size = (THUMBNAIL, max(1, round(height * THUMBNAIL / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = pixels.ndim == 2
    ending, kind = (".png", "image/png") if grey else (".jpg", "image/jpeg")
    _, data = cv2.imencode(ending, pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    size_text = f'width="{pixels.shape[1]}" height="{pixels.shape[0]}"'
    return Markup(f'<img src="{_data_uri(kind, data.tobytes())}" {size_text} alt="{escape(alt)}">')


def strong(text: str) -> Markup:
    """Text in bold."""
    return Markup(f"<strong>{escape(text)}</strong>")


def _cell(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
