"""The nearest-foreground search against brute force, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from samsod.evaluation.distance import nearest_foreground


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


@pytest.mark.parametrize("name", masks())
def test_agrees_with_brute_force(name: str) -> None:
    mask = masks()[name]
    nearest, square = nearest_foreground(mask)
    expected_nearest, expected_square = brute_force(mask)
    np.testing.assert_array_equal(square, expected_square)
    np.testing.assert_array_equal(nearest, expected_nearest)


def test_agrees_with_brute_force_on_every_small_mask() -> None:
    for bits in range(1, 1 << 12):
        mask = (bits >> np.arange(12) & 1).astype(bool).reshape(3, 4)
        np.testing.assert_array_equal(nearest_foreground(mask), brute_force(mask))


def test_agrees_with_brute_force_on_random_masks() -> None:
    random = np.random.RandomState(1)
    for _ in range(200):
        mask = random.rand(*random.randint(1, 24, 2)) < random.choice([0.01, 0.05, 0.3, 0.9])
        mask.flat[random.randint(mask.size)] = True
        np.testing.assert_array_equal(nearest_foreground(mask), brute_force(mask))


def test_ties_go_to_the_smaller_row_and_then_the_left_column() -> None:
    cross = np.zeros((5, 5), bool)
    cross[[0, 2, 2, 4], [2, 0, 4, 2]] = True  # all at distance 2 from the centre
    assert nearest_foreground(cross)[0][2, 2] == 2 * 5 + 0
    cross[2, 0] = False
    assert nearest_foreground(cross)[0][2, 2] == 0 * 5 + 2


def test_counts_stay_exact_on_large_maps() -> None:
    mask = np.zeros((2, 5000), bool)
    mask[1, 4999] = True
    nearest, square = nearest_foreground(mask)
    assert square[0, 0] == 4999**2 + 1
    assert (nearest == 9999).all()


@pytest.mark.parametrize("mask", [np.zeros((3, 3), bool), np.zeros((0, 3), bool)])
def test_refuses_a_mask_without_foreground(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one true pixel"):
        nearest_foreground(mask)


@pytest.mark.parametrize("mask", [np.ones(3, bool), np.ones((3, 3), np.uint8)])
def test_refuses_what_is_no_mask(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two-dimensional bool array, got"):
        nearest_foreground(mask)
