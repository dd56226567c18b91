from __future__ import annotations

import cv2
import numpy as np
import pytest

from samsod.data.synthetic.strokes import longest_path, region_strokes, thinned


def blobs(seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    """Random connected and unconnected shapes, with holes."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 5) > 0.505)


def parts(mask: np.ndarray, connectivity: int = 8) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)[0] - 1


@pytest.mark.parametrize("seed", range(4))
def test_a_skeleton_is_thin_inside_and_as_connected_as_its_mask(seed: int) -> None:
    mask = blobs(seed)
    skeleton = thinned(mask)
    assert not (skeleton & ~mask).any() and 0 < skeleton.sum() < 0.2 * mask.sum()
    assert parts(skeleton) == parts(mask)
    assert parts(~np.pad(skeleton, 1), 4) == parts(~np.pad(mask, 1), 4)  # holes stay holes
    squares = skeleton[:-1, :-1] & skeleton[1:, :-1] & skeleton[:-1, 1:] & skeleton[1:, 1:]
    assert squares.sum() <= 0.02 * skeleton.sum()


def test_a_bar_thins_to_its_middle_line() -> None:
    mask = np.zeros((21, 60), bool)
    mask[6:15, 5:55] = True
    rows, columns = np.nonzero(thinned(mask))
    middle = (columns > 12) & (columns < 48)
    assert set(rows[middle]) == {10} and np.ptp(columns) > 35


def test_the_longest_path_leaves_branches_and_smaller_pieces_out() -> None:
    skeleton = np.zeros((30, 30), bool)
    skeleton[5, 2:27] = True  # 25 pixels along, with a branch of 8, and a piece of 12 apart
    skeleton[6:14, 10] = True
    skeleton[20, 3:15] = True
    path = longest_path(skeleton)
    assert sorted(path.tolist()) == [[x, 5] for x in range(2, 27)]
    assert (np.abs(np.diff(path, axis=0)).max(axis=1) == 1).all()
    assert longest_path(np.zeros((4, 4), bool)).shape == (0, 2)


@pytest.mark.parametrize("seed", range(4))
def test_no_pair_of_points_of_a_tree_is_farther_apart_than_its_longest_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = np.zeros((24, 24), bool)
    x, y = 12, 12
    for _ in range(12):  # a random walk in steps of two on a grid, without closing loops
        dx, dy = ((2, 0), (-2, 0), (0, 2), (0, -2))[rng.integers(4)]
        if 0 < x + dx < 23 and 0 < y + dy < 23 and not tree[y + dy, x + dx]:
            tree[y, x] = tree[y + dy // 2, x + dx // 2] = tree[y + dy, x + dx] = True
            x, y = x + dx, y + dy
    points = np.argwhere(tree)
    near = np.abs(points[:, None] - points[None]).max(-1) == 1
    distance = np.where(near, 1.0, np.inf)
    np.fill_diagonal(distance, 0)
    for middle in range(len(points)):  # Floyd and Warshall
        distance = np.minimum(distance, distance[:, middle, None] + distance[None, middle])
    assert len(longest_path(tree)) == distance.max() + 1


def test_a_stroke_runs_along_the_region_and_inside_it() -> None:
    region = np.zeros((300, 500), bool)
    region[100:180, 60:440] = True
    (stroke,) = region_strokes(region, np.random.default_rng(0), most=1)
    x, y = stroke.T
    assert y.min() > 100 and y.max() < 180 and abs(y.mean() - 139.5) < 15
    assert x.min() > 60 and x.max() < 440 and 0.4 * 380 < np.ptp(x) < 0.9 * 380


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 40), (3, 500)])
def test_regions_too_small_to_thin_get_a_stroke(shape: tuple[int, int]) -> None:
    region = np.zeros((20, 520), bool)
    region[10 : 10 + shape[0], 7 : 7 + shape[1]] = True
    (stroke,) = region_strokes(region, np.random.default_rng(0), most=1)
    assert len(stroke) and stroke[:, 1].min() >= 9.5 and stroke[:, 1].max() <= 9.5 + shape[0]
