from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import read_rgb
from samsod.data.pictures import write_png
from samsod.evaluation.contact_sheet import BLANK, CELL_HEIGHT, GAP, MARGIN, WIDEST, contact_sheet


def test_contact_sheet_places_images_by_row_and_column() -> None:
    red = np.zeros((60, 80, 3), np.uint8)
    red[..., 0] = 255
    grey = np.full((60, 80), 77, np.uint8)
    sheet = contact_sheet([("first", [red, grey]), ("second", [grey, None])], ("RGB", "truth"))
    width = round(80 * CELL_HEIGHT / 60)
    assert sheet.shape[1] == 2 * width + 3 * GAP
    top = GAP + MARGIN + CELL_HEIGHT // 2
    left, right = GAP + width // 2, 2 * GAP + width + width // 2
    below = top + CELL_HEIGHT + 18
    assert sheet[top, left].tolist() == [255, 0, 0]
    assert sheet[top, right].tolist() == [77, 77, 77] == sheet[below, left].tolist()
    assert sheet[below, right].tolist() == list(BLANK)
    assert (sheet[GAP : GAP + MARGIN, GAP : GAP + width] < 128).any()  # a title is written


def test_images_of_several_shapes_keep_their_proportions() -> None:
    tall, wide = np.zeros((100, 20), np.uint8), np.zeros((20, 100), np.uint8)
    sheet = contact_sheet([("a", [tall]), ("b", [wide])], ("x",))
    assert sheet.ndim == 3 and (sheet == 0).any()


def test_extreme_shapes_fit_on_a_sheet(tmp_path: Path) -> None:
    images = [np.zeros(shape, np.uint8) for shape in ((1, 5000), (5000, 1), (1, 1))]
    sheet = contact_sheet([("a", [image]) for image in images], ("x",))
    assert sheet.shape[1] == WIDEST * CELL_HEIGHT + 2 * GAP
    write_png(tmp_path / "a.png", sheet)


def test_long_names_are_cut_not_overflowing() -> None:
    sheet = contact_sheet([("n" * 500, [np.zeros((64, 64), np.uint8)])], ("t" * 100,))
    assert sheet.shape[1] == CELL_HEIGHT + 2 * GAP


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
def test_any_shape_fits_into_a_cell(shape: tuple[int, int]) -> None:
    sheet = contact_sheet([("a", [np.zeros(shape, np.uint8), None]), ("b", [np.zeros((40, 50), np.uint8)] * 2)], "xy")
    assert sheet.shape[1] <= 2 * WIDEST * CELL_HEIGHT + 3 * GAP and (sheet == 0).any()


def test_names_of_any_letters_are_written() -> None:
    """Those that are not UTF-8 too, as Python gives them; OpenCV crashed on them."""
    sheet = contact_sheet([("caf\udce9\n\u4e2d", [np.full((64, 64), 255, np.uint8)])], ("x",))
    assert (sheet[GAP + MARGIN + CELL_HEIGHT :] < 128).any()


def test_png_comes_back_in_rgb_order(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
