"""Strokes as a hand would draw them along the middle of a region: thin, smooth, and stopping short of its ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.data.decoding.images import Mask, cv2

Stroke = npt.NDArray[np.float64]
"""Points of a line, `[N,2]`, (x, y) in pixels, 0 being the middle of the first pixel."""

FINEST = 96  # a hand does not follow a region in more pixels than this along its longer side
SHARES = (0.5, 0.85)  # of the region's length that a stroke runs along
SMOOTHING = 0.06  # deviation of the smoothing along a stroke, in its length
WOBBLE = 0.2  # of the distance to the region's border
SECOND = 0.5  # a further stroke is drawn along what is at least so long, in the first one's length


def region_strokes(region: Mask, rng: np.random.Generator, most: int) -> Iterator[Stroke]:
    """Draws strokes through a region, the first along its longest stretch.

    Args:
        region: bool, H×W, True somewhere.
        rng: Decides where along the stretch a stroke begins and ends, and how it wobbles.
        most: How many strokes at most.

    Yields:
        Each stroke, in pixels of `region`.
    """
    left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
    small = _shrunk(region[top : top + height, left : left + width])
    inner = cv2.distanceTransform(np.pad(small, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    skeleton = thinned(small)
    if not skeleton.any():  # thinning may leave nothing of a blot
        skeleton.flat[inner.argmax()] = True
    scale, corner = np.array([width / small.shape[1], height / small.shape[0]]), np.array([left, top])
    first = 0
    for _ in range(most):
        path = longest_path(skeleton)
        if len(path) == 0 or len(path) < SECOND * first:
            return
        first = first or len(path)
        skeleton = skeleton & ~_beside(path, small.shape)
        yield (_by_hand(path, inner, rng) + 0.5) * scale - 0.5 + corner


def thinned(mask: Mask) -> Mask:
    """The skeleton, one pixel wide, of a mask (bool, H×W), beyond whose border all counts as False.

    Zhang and Suen, "A fast parallel algorithm for thinning", 1984.
    """
    image = np.pad(mask, 1)
    height, width = mask.shape
    centre = image[1:-1, 1:-1]
    # The neighbours in a circle from the one above: views, which follow the image as it is thinned.
    circle = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    neighbours = [image[row : row + height, column : column + width] for row, column in circle]
    north, east, south, west = neighbours[::2]
    before = -1
    while before != (before := int(centre.sum())):
        for n, e, s, w in ((north, east, south, west), (south, west, north, east)):
            count = np.sum(neighbours, axis=0)
            pairs = zip(neighbours, neighbours[1:] + neighbours[:1], strict=True)
            turns = np.sum([~one & following for one, following in pairs], axis=0)
            centre &= ~((count >= 2) & (count <= 6) & (turns == 1) & ~(e & s & (n | w)))
    return centre.copy()


def longest_path(skeleton: Mask) -> Stroke:
    """The longest way that is no detour through a skeleton (bool, H×W), as points; none if the skeleton is empty."""
    left = {(int(x), int(y)) for y, x in np.argwhere(skeleton)}
    longest: list[tuple[int, int]] = []
    while len(left) > len(longest):
        # The point farthest from any point is an end of the longest way of all (of trees exactly, else nearly).
        reached = _spread(min(left), left)
        way = _spread(list(reached)[-1], left)
        point: tuple[int, int] | None = list(way)[-1]
        path = []
        while point is not None:
            path.append(point)
            point = way[point]
        longest = max(longest, path, key=len)
        left -= reached.keys()
    return np.array(longest, np.float64).reshape(-1, 2)


def _spread(start: tuple[int, int], points: set[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int] | None]:
    """All points connected to the start, nearest first, each with the one it was reached from."""
    reached: dict[tuple[int, int], tuple[int, int] | None] = {start: None}
    queue = deque([start])
    while queue:
        x, y = point = queue.popleft()
        for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            beside = (x + across, y + down)
            if beside in points and beside not in reached:
                reached[beside] = point
                queue.append(beside)
    return reached


def _shrunk(region: Mask) -> Mask:
    """The region with no more pixels than a hand follows; never empty."""
    height, width = region.shape
    factor = min(1.0, FINEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    covered = cv2.resize(region.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(covered >= min(0.5, float(covered.max())))


def _by_hand(path: Stroke, inner: npt.NDArray[Any], rng: np.random.Generator) -> Stroke:
    """A part of a path of pixels, smooth and a little unsteady; `inner` is how far the border is from each pixel."""
    share, start = rng.uniform(*SHARES), rng.random()
    count = max(1, round(len(path) * share))
    begin = int(start * (len(path) - count + 1))
    reach = max(1.0, SMOOTHING * len(path))
    smooth = _smoothed(path, reach)
    rooms = inner[path[:, 1].astype(int), path[:, 0].astype(int)]
    wobble = _smoothed(rng.normal(size=path.shape), 2 * reach)
    wobble /= max(float(np.abs(wobble).max()), 1e-9)
    return (smooth + WOBBLE * wobble * _smoothed(rooms[:, None], reach))[begin : begin + count]


def _smoothed(values: npt.NDArray[np.float64], deviation: float) -> npt.NDArray[np.float64]:
    """Each column blurred by a Gaussian along the rows; the ends stay where they are drawn to."""
    offsets = np.arange(-round(3 * deviation), round(3 * deviation) + 1)
    kernel = np.exp(-(offsets**2) / (2 * deviation**2))
    padded = np.pad(values, ((len(offsets) // 2, len(offsets) // 2), (0, 0)), mode="edge")
    columns = [np.convolve(column, kernel / kernel.sum(), mode="valid") for column in padded.T]
    return np.stack(columns, axis=1)


def _beside(path: Stroke, shape: tuple[int, ...]) -> Mask:
    """Where a further stroke would only repeat this one."""
    drawn = np.zeros(shape, np.uint8)
    width = max(3, round(max(shape) / 12))
    cv2.polylines(drawn, [path.astype(np.int32)], isClosed=False, color=1, thickness=width)
    return drawn > 0
