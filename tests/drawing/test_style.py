from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samsod.drawing.style import (
    DARK,
    LIGHT,
    Theme,
    check_picture,
    drawing,
    figure_bytes,
    fitting,
    import_matplotlib,
    line_style,
    save_figure,
)
from samsod.utils.errors import UserError

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009:
# full protanopia, deuteranopia and tritanopia, on linear RGB.
SIGHT = {
    "full": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    "protan": [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    "deutan": [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    "tritan": [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB."""
    ratios = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ_for_every_kind_of_sight(theme: Theme, sight: str) -> None:
    seen = [lab(np.reshape(SIGHT[sight], (3, 3)) @ linear(colour)) for colour in theme.colours]
    nearest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))
    assert nearest > 11  # about five times what is just told apart side by side


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_lines_and_text_stand_out_from_the_paper(theme: Theme) -> None:
    def contrast(colour: str) -> float:
        high, low = sorted((float(XYZ[1] @ linear(c)) for c in (colour, theme.paper)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert contrast(theme.ink) > 7 and min(map(contrast, theme.colours)) > 2.2


def test_twenty_lines_differ_without_their_colours() -> None:
    styles = [line_style(index, LIGHT) for index in range(20)]
    assert len({(style.dashes, style.marker) for style in styles}) == 20
    assert len({style.colour for style in styles[:7]}) == 7


def test_texts_are_cut_in_the_middle() -> None:
    assert fitting("SAMSOD", 1.0, 6.5) == "SAMSOD"
    short = fitting("a-very-long-name-of-a-method-v2", 1.0, 6.5)
    assert len(short) <= 72 / (6.5 * 0.6) and short.startswith("a-very") and short.endswith("od-v2") and "…" in short


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_figures_come_out_whole_and_the_same(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / f"figure{ending}"
    for _ in range(2):
        with drawing(1, 1, DARK) as figure:
            figure.subplots().plot([0, 1], [0, 1], label="$cost$ of a_b")
            before = path.read_bytes() if path.is_file() else b""
            save_figure(figure, path)
    assert path.read_bytes() == before
    assert before.startswith({".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[ending])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_figure_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with drawing(1, 1, LIGHT) as figure, pytest.raises(OSError, match=r"No space .*/figure\.png'"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_pictures_that_cannot_be_drawn_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match=r"cannot draw a \.jpg.*expected \.png, \.pdf, \.svg"):
        check_picture(tmp_path / "a.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, expected a folder"):
        check_picture(tmp_path / "file" / "a.png")
    check_picture(tmp_path / "A.PNG")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"^drawing needs matplotlib: pip install 'samsod\[plot\]'$"):
        import_matplotlib()


def test_bytes_of_a_figure_follow_the_theme() -> None:
    pytest.importorskip("matplotlib")
    for theme in (LIGHT, DARK):
        with drawing(1, 1, theme) as figure:
            figure.subplots()
            assert f"fill: {theme.paper}".encode() in figure_bytes(figure, "svg")
