"""Exact distances to the foreground, and the nearest foreground pixels of those close to it."""

from __future__ import annotations

from itertools import product

import numpy as np

from samsod.data.decoding.images import cv2

FAR = 255
"""Beyond it, in pixels, distances are not told apart."""
TILE = 2048
"""OpenCV computes in float32, which is exact on images up to this size; larger ones are cut."""


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
        inner = np.s_[row - top : row - top + step, column - left : column - left + step]
        # Half is added for rounding; where a tile holds no true pixel the distance is a very large number.
        square[row : row + step, column : column + step] = np.minimum(distance[inner] ** 2 + np.float32(0.5), 65535)
    return square


def spread_outwards(image: np.ndarray, mask: np.ndarray, square: np.ndarray, reach: int) -> np.ndarray:
    """Gives the false pixels of `mask` near a true one the image's value at the nearest true pixel.

    Of several nearest ones the leftmost is taken, and of two in one column the upper, as
    `scipy.ndimage.distance_transform_edt` does.

    Args:
        image: float64, H×W.
        mask: bool, H×W.
        square: What `squared_distance` gives for it; true pixels have 0.
        reach: How many rows and columns away from a true pixel values are wanted.

    Returns:
        float64, H×W: the image where `mask` is true, the nearest true pixel's value on the wanted pixels, and on
        all others either that or 0.
    """
    spread = np.where(mask, image, 0.0)
    limit = 2 * reach**2
    near = np.flatnonzero((square <= limit) & ~mask)
    distances = square.ravel()[near]
    margin = int(limit**0.5)
    padded, width = np.pad(mask, margin).ravel(), mask.shape[1] + 2 * margin
    rows, columns = np.divmod(near, mask.shape[1])
    places = (rows + margin) * width + columns + margin
    source = np.empty_like(near)
    offsets = range(-margin, margin + 1)
    # From the last choice to the first, which stays.
    for right, down in product(reversed(offsets), reversed(offsets)):
        if 0 < right**2 + down**2 <= limit:
            ring = np.flatnonzero(distances == right**2 + down**2)
            hit = ring[padded[places[ring] + down * width + right]]
            source[hit] = near[hit] + down * mask.shape[1] + right
    spread.ravel()[near] = image.ravel()[source]
    return spread
