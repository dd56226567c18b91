"""Distances and the nearest foreground pixels against brute force, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics import distance
from samsod.evaluation.metrics.distance import FAR, spread_outwards, squared_distance


def brute_force(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest distance to any true pixel; of equals the leftmost column, then the smaller row."""
    height, width = mask.shape
    columns, rows = np.nonzero(mask.T)  # ordered by column, then row: argmin takes the first
    row, column = np.mgrid[:height, :width]
    squares = (row[..., None] - rows) ** 2 + (column[..., None] - columns) ** 2
    best = squares.argmin(axis=-1)
    return rows[best] * width + columns[best], squares.min(axis=-1)


def symmetric(quarter: np.ndarray) -> np.ndarray:
    half = np.hstack([quarter, quarter[:, ::-1]])
    return np.vstack([half, half[::-1]])


def masks() -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    rows, columns = np.mgrid[:31, :27]
    return {
        "one pixel": (rows == 9) & (columns == 20),
        "corners": np.isin(rows, (0, 30)) & np.isin(columns, (0, 26)),
        "row": rows == 12,
        "column": columns == 26,
        "diagonal": rows == columns,
        "grid": (rows % 6 == 3) & (columns % 8 == 0),
        "disc": (rows - 15) ** 2 + (columns - 13) ** 2 < 60,
        "ring": np.isin((rows - 15) ** 2 + (columns - 13) ** 2, range(90, 110)),
        "all": rows >= 0,
        "sparse": random.rand(40, 33) < 0.01,
        "dense": random.rand(33, 40) < 0.7,
        "symmetric": symmetric(random.rand(11, 16) < 0.06),
        "one row": random.rand(1, 50) < 0.1,
        "one column": random.rand(50, 1) < 0.1,
        "single": np.ones((1, 1), bool),
    }


def spread_of(image: np.ndarray, mask: np.ndarray, square: np.ndarray, reach: int) -> np.ndarray:
    spread = image.copy()
    spread_outwards(spread, mask, square, reach)
    return spread


def assert_as_brute_force(mask: np.ndarray, reach: int = 3) -> None:
    nearest, expected = brute_force(mask)
    square = squared_distance(mask)
    np.testing.assert_array_equal(square, expected)
    index = np.arange(mask.size, dtype=float).reshape(mask.shape) + 1
    spread = spread_of(index, mask, square, reach)
    padded = np.pad(mask, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    wanted = windows.any(axis=(2, 3))
    np.testing.assert_array_equal(spread[wanted], nearest[wanted] + 1)
    assert ((spread == index) | (spread == nearest + 1))[~wanted].all()


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("reach", [1, 3])
def test_agrees_with_brute_force(name: str, reach: int) -> None:
    assert_as_brute_force(masks()[name], reach)


def test_agrees_with_brute_force_on_every_small_mask() -> None:
    for bits in range(1, 1 << 9):
        assert_as_brute_force((bits >> np.arange(9) & 1).astype(bool).reshape(3, 3))


def test_agrees_with_brute_force_on_random_masks() -> None:
    random = np.random.RandomState(1)
    for _ in range(200):
        mask = random.rand(*random.randint(1, 24, 2)) < random.choice([0.01, 0.05, 0.3, 0.9])
        mask.flat[random.randint(mask.size)] = True
        assert_as_brute_force(mask)


def test_ties_go_to_the_left_column_and_then_the_smaller_row() -> None:
    cross = np.zeros((5, 5), bool)
    cross[[0, 2, 2, 4], [2, 0, 4, 2]] = True  # all at distance 2 from the centre
    index = np.arange(25.0).reshape(5, 5)
    assert spread_of(index, cross, squared_distance(cross), 2)[2, 2] == 2 * 5 + 0
    cross[2, 0] = False
    assert spread_of(index, cross, squared_distance(cross), 2)[2, 2] == 0 * 5 + 2


def test_distances_are_exact_on_large_images_and_capped_far_away() -> None:
    """An image wide and high enough to be cut, with tiles that hold no true pixel."""
    mask = np.zeros((2300, 2200), bool)
    points = np.array([(0, 0), (1000, 1500), (1010, 1500), (2299, 2199), (1790, 40), (1800, 1537)])
    mask[tuple(points.T)] = True
    rows, columns = np.ogrid[:2300, :2200]
    expected = np.min([(rows - row) ** 2 + (columns - column) ** 2 for row, column in points], axis=0)
    square, near = squared_distance(mask), expected <= FAR**2
    np.testing.assert_array_equal(square[near], expected[near])
    assert (square[~near] > FAR**2).all()


def test_opencv_is_left_as_it_was() -> None:
    for uses_ipp in (False, cv2.ipp.useIPP()):
        cv2.ipp.setUseIPP(uses_ipp)
        squared_distance(np.eye(3, dtype=bool))
        assert cv2.ipp.useIPP() == uses_ipp


@pytest.mark.parametrize("threads", [0, 2])
def test_distances_are_exact_with_any_number_of_threads(threads: int) -> None:
    """OpenCV has other code for one thread than for several."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        mask = np.random.RandomState(6).rand(180, 210) < 0.001
        np.testing.assert_array_equal(squared_distance(mask), brute_force(mask)[1])
    finally:
        cv2.setNumThreads(before)


def test_cutting_into_tiles_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(5)
    mask = random.rand(90, 110) < 0.05
    whole = squared_distance(mask)
    monkeypatch.setattr(distance, "FAR", 12)
    monkeypatch.setattr(distance, "TILE", 41)
    assert whole.max() <= 12**2
    np.testing.assert_array_equal(squared_distance(mask), whole)
