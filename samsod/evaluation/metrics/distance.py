"""Exact distances to the foreground, and the nearest foreground pixels of those close to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np

from samsod.data.decoding.images import cv2

FAR = 200
"""Beyond it, in pixels, distances are not told apart."""
TILE = 2048
"""OpenCV computes in float32, which is exact on images up to this size; larger ones are cut."""
BAND = 2**14
"""Pixels taken at a time where every pixel needs several floats: arrays that stay in the cache, and that the C library
does not fetch from the system anew, which takes as long as the arithmetic."""


def row_bands(height: int, width: int) -> Iterator[slice]:
    """The rows of an image in bands of about `BAND` pixels."""
    step = max(BAND // width, 1)
    return (slice(row, row + step) for row in range(0, height, step))


def squared_distance(mask: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of every pixel to the nearest true one of `mask`.

    Args:
        mask: bool, H×W, at least one pixel true.

    Returns:
        uint16, H×W, pixels²; exact up to `FAR`², some larger number beyond.
    """
    square = np.empty(mask.shape, np.uint16)
    step = TILE - 2 * FAR
    for row, column in product(*(range(0, length, step) for length in mask.shape)):
        top, left = max(row - FAR, 0), max(column - FAR, 0)
        tile = mask[top : row + step + FAR, left : column + step + FAR]
        distance = cv2.distanceTransform((~tile).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        inner = distance[row - top : row - top + step, column - left : column - left + step]
        target = square[row : row + step, column : column + step]
        for band in row_bands(*inner.shape):
            # Half is added for rounding; where a tile holds no true pixel the distance is a very large number.
            target[band] = np.minimum(inner[band] ** 2 + np.float32(0.5), 65535)
    return square


def spread_outwards(image: np.ndarray, mask: np.ndarray, square: np.ndarray, reach: int) -> None:
    """Gives the false pixels of `mask` near a true one the image's value at the nearest true pixel, and all others 0.

    Of several nearest ones the leftmost is taken, and of two in one column the upper, as
    `scipy.ndimage.distance_transform_edt` does.

    Args:
        image: float64, H×W, contiguous; changed in place.
        mask: bool, H×W.
        square: What `squared_distance` gives for it; true pixels have 0.
        reach: How many rows and columns away from a true pixel values are wanted; some farther ones get theirs too.
    """
    limit = 2 * reach**2
    near = np.flatnonzero((square - np.uint16(1)) < limit)  # what is at 0 becomes 65535
    distances = square.ravel()[near]
    order = distances.argsort(kind="stable")
    near, distances = near[order], distances[order]
    (height, width), margin = mask.shape, math.isqrt(limit)
    # With a border of false pixels, so that a place across the image's edge is one.
    bordered = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    bordered[margin : margin + height, margin : margin + width] = mask
    rows, columns = np.divmod(near, width)
    places = (rows + margin) * bordered.shape[1] + columns + margin
    source = np.empty_like(near)
    for distance, (right, down) in _circles(limit).items():
        ring = slice(*distances.searchsorted((distance, distance + 1)))
        hits = bordered.ravel()[places[ring, None] + (down * bordered.shape[1] + right)]
        source[ring] = near[ring] + (down * width + right)[hits.argmax(axis=1)]
    image *= mask
    image.ravel()[near] = image.ravel()[source]


@cache
def _circles(limit: int) -> dict[int, np.ndarray]:
    """The offsets to the right and down at each squared distance up to `limit`, the first choice first: int, 2×n."""
    offsets = range(-math.isqrt(limit), math.isqrt(limit) + 1)
    circles: dict[int, list[tuple[int, int]]] = {}
    for right, down in product(offsets, offsets):
        circles.setdefault(right**2 + down**2, []).append((right, down))
    return {square: np.array(points).T for square, points in circles.items() if 0 < square <= limit}
