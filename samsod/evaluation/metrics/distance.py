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
BAND = 2**13
"""Pixels taken at a time where every pixel needs several floats: arrays that stay in the cache, and that the C library
does not fetch from the system anew, which takes as long as the arithmetic. From 10,000 elements on OpenBLAS would take
several threads for a dot product, which wait for each other far longer than they work."""
MOST = 8
"""No pixel has more pixels than these at one distance from it, up to a squared distance of 24."""
_FIRST_BIT = MOST - np.array([byte.bit_length() for byte in range(2**MOST)])


def row_bands(height: int, width: int, *, pixels: int) -> Iterator[slice]:
    """The rows of an image in bands of about so many pixels."""
    step = max(pixels // width, 1)
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
        target = square[row : row + step, column : column + step]
        if not tile.any():
            target.fill(65535)
            continue
        distance = _distance(tile)
        inner = distance[row - top : row - top + step, column - left : column - left + step]
        cv2.multiply(inner, inner, target, dtype=cv2.CV_16U)  # rounds, and cuts what is too large
    return square


def _distance(mask: np.ndarray) -> np.ndarray:
    """The distance of every pixel to the nearest true one: float32.

    Without IPP, which OpenCV would take with one thread only, and which takes 1.25 times as long (on an AMD EPYC).
    """
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)  # in this thread
    try:
        return cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    finally:
        cv2.ipp.setUseIPP(before)


def spread_outwards(image: np.ndarray, mask: np.ndarray, square: np.ndarray, reach: int) -> None:
    """Gives the false pixels of `mask` near a true one the image's value at the nearest true pixel.

    Of several nearest ones the leftmost is taken, and of two in one column the upper, as
    `scipy.ndimage.distance_transform_edt` does.

    Args:
        image: float64, H×W, contiguous; changed in place.
        mask: bool, H×W.
        square: What `squared_distance` gives for it; true pixels have 0.
        reach: How many rows and columns away from a true pixel values are wanted; at most 3; some farther ones
            get theirs too.
    """
    limit = 2 * reach**2
    (height, width), margin = mask.shape, math.isqrt(limit)
    # With a border of false pixels, so that a place across the image's edge is one.
    bordered = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    bordered[margin : margin + height, margin : margin + width] = mask
    right, down = _circles(limit)
    steps, bordered_steps = right + down * width, right + down * bordered.shape[1]
    near = np.flatnonzero((square - np.uint16(1)) < limit)  # what is at 0 becomes 65535
    distances = square.ravel()[near]
    for band in row_bands(near.size, MOST, pixels=BAND):
        here, distance = near[band], distances[band]
        places = here + here // width * (2 * margin) + margin * (bordered.shape[1] + 1)
        hits = bordered.ravel()[places[:, None] + bordered_steps[distance]]
        first = _FIRST_BIT[np.packbits(hits)]  # a pixel's `MOST` hits are one byte
        image.ravel()[here] = image.ravel()[here + steps[distance, first]]


@cache
def _circles(limit: int) -> np.ndarray:
    """The offsets to the right and down at each squared distance up to `limit`, the first choice first.

    Returns:
        int, 2×(limit + 1)×`MOST`; where there are fewer, the last ones are 0, the pixel itself.
    """
    offsets = range(-math.isqrt(limit), math.isqrt(limit) + 1)
    circles = np.zeros((limit + 1, MOST, 2), int)
    found = [0] * (limit + 1)
    for right, down in product(offsets, offsets):
        if 0 < (square := right**2 + down**2) <= limit:
            circles[square, found[square]] = right, down
            found[square] += 1
    return circles.transpose(2, 0, 1)
