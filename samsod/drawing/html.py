"""Pieces of an HTML page that opens offline: everything embedded, light and dark, no script.

Every text is escaped where it enters a piece, unless it is `Markup`, which every piece is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from samsod.data.pictures import data_uri, encoded, shrunk
from samsod.drawing.style import COLUMN, PANEL_HEIGHT, THEMES, Theme, drawing, figure_bytes

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


def page(title: str, *parts: str) -> Markup:
    """A whole document."""
    return Markup(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}\n</body>\n</html>\n"
    ).format(title, Markup(STYLE), _lines(parts))


def header(title: str, text: str, sections: Iterable[tuple[str, str]]) -> Markup:
    """The page's heading, what stands below it, and links to sections by anchor and title."""
    links = _each('<li><a href="#{}">{}</a></li>', sections)
    return Markup("<header><h1>{}</h1>{}<nav><ul>{}</ul></nav></header>").format(title, text, links)


def section(name: str, title: str, *parts: str) -> Markup:
    """A section under a heading; `name` is its anchor."""
    return Markup('<section id="{}">\n<h2>{}</h2>\n{}\n</section>').format(name, title, _lines(parts))


def box(kind: str, parts: Sequence[str]) -> Markup:
    """Parts side by side where there is room, `figures` or `grids`."""
    return Markup('<div class="{}">{}</div>').format(kind, _lines(parts))


def note(text: str) -> Markup:
    """A remark."""
    return Markup('<p class="note">{}</p>').format(text)


def table(caption: str, heading: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, kind: str = "") -> Markup:
    """A table in a box that scrolls by itself, `left` columns flush left."""
    sides = [Markup(' class="text"') if column < left else "" for column in range(len(heading))]
    head = _each('<th scope="col"{}>{}</th>', zip(sides, heading, strict=True))
    lines = [(_each("<td{}>{}</td>", zip(sides, row, strict=True)),) for row in rows]
    # Scrollable boxes take the focus, so that they scroll from the keyboard too.
    return Markup(
        '<div class="scroll" tabindex="0"><table class="{}">\n<caption><span>{}</span></caption>\n'
        "<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>"
    ).format(kind, caption, head, _each("<tr>{}</tr>\n", lines))


def definitions(items: Iterable[tuple[str, str]]) -> Markup:
    """A list of terms and what they are."""
    return Markup("<dl>{}</dl>").format(_each("<dt>{}</dt><dd>{}</dd>", items))


def folded(summary: str, text: str) -> Markup:
    """Preformatted text behind a line that opens it."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, preformatted(text))


def preformatted(text: str) -> Markup:
    """Text as it stands."""
    return Markup('<pre tabindex="0">{}</pre>').format(text)


def figure(draw: Callable[[Any, Theme], None], alt: str, caption: str) -> Markup:
    """A figure one column wide, drawn for light and for dark pages.

    Args:
        draw: Draws on matplotlib's axes with a theme.
        alt: What a reader who cannot see it should know.
        caption: Below it.
    """
    pictures = {}
    for name, theme in THEMES.items():
        with drawing(COLUMN, PANEL_HEIGHT, theme) as canvas:
            draw(canvas.subplots(), theme)
            pictures[name] = data_uri(figure_bytes(canvas, "svg"), ".svg")
    return Markup(
        '<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{}"><img src="{}" alt="{}"></picture>'
        "<figcaption>{}</figcaption></figure>"
    ).format(pictures["dark"], pictures["light"], alt, caption)


def image(pixels: np.ndarray, alt: str) -> Markup:
    """A thumbnail, uint8 `[H,W]` grey (as PNG) or `[H,W,3]` RGB (as JPEG)."""
    small, ending = shrunk(pixels, THUMBNAIL), ".png" if pixels.ndim == 2 else ".jpg"
    source = data_uri(encoded(small, ending), ending)
    return Markup('<img src="{}" width="{}" height="{}" alt="{}">').format(source, *small.shape[1::-1], alt)


def strong(text: str) -> Markup:
    """Text in bold."""
    return Markup("<strong>{}</strong>").format(text)


def _lines(parts: Iterable[str]) -> Markup:
    return Markup("\n").join(parts)


def _each(template: str, values: Iterable[Sequence[str]]) -> Markup:
    """The template filled with each of the values, one after the other."""
    return Markup("").join(Markup(template).format(*value) for value in values)
