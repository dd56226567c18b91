"""Bilinear resizing of 8-bit images with the kernel widened by the factor of reduction (antialiased).

PyTorch does it, or NumPy where PyTorch is not loaded, as on a robot that has none: to the same bits. As in Pillow the
image is weighed along its rows, rounded, and then along its columns, with weights in whole numbers.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 32
"""So many rows of a result are one product of matrices: their weights lie in a narrow band of the whole matrix."""


def resize_antialiased(image: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Resizes an image of four channels, uint8 H×W×4, to a square, size×size×4."""
    return (with_torch if sys.modules.get("torch") else with_numpy)(image, size)


def with_torch(image: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """`resize_antialiased` by PyTorch, many times as fast as NumPy."""
    import torch
    from torch.nn.functional import interpolate

    # Batch first: only so are the strides what torch calls channels last, which its fast path wants.
    channels_last = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    resized = interpolate(channels_last, (size, size), mode="bilinear", antialias=True)
    packed: npt.NDArray[Any] = resized[0].permute(1, 2, 0).numpy()
    return packed


def with_numpy(image: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """`resize_antialiased` by NumPy."""
    narrowed = _weighed(image.transpose(1, 0, 2), size).transpose(1, 0, 2)
    return np.ascontiguousarray(_weighed(narrowed, size))


def _weighed(image: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Resizes the first axis of N×M×C to `size`."""
    weights, bits = _weights(len(image), size)
    result = np.empty((size, *image.shape[1:]), np.uint8)
    for start in range(0, size, _BLOCK):
        block = weights[start : start + _BLOCK]
        (places,) = np.nonzero(block.any(0))
        rows = slice(places[0], places[-1] + 1)
        values = image[rows].reshape(rows.stop - rows.start, -1).astype(np.float64)
        # Sums of whole numbers below 2^53: exact, and floor(x + 1/2) is what shifting the bits out gives.
        rounded = np.floor(block[:, rows] @ values / 2**bits + 0.5)
        result[start : start + _BLOCK] = np.minimum(rounded, 255).reshape(-1, *image.shape[1:])
    return result


def _weights(length: int, size: int) -> tuple[npt.NDArray[np.float64], int]:
    """Weights `[size,length]`, whole numbers whose rows add up to about 2^bits, and the bits.

    The triangle reaches from each pixel's middle over a pixel of the coarser image either way, cut off at the border.
    The largest weight is to fill 15 bits.
    """
    scale = length / size
    reach = max(scale, 1.0)
    middles = ((np.arange(size) + 0.5) * scale)[:, None]
    places = np.arange(length)
    weights = np.maximum(1 - np.abs((places - middles + 0.5) / reach), 0)
    first, end = (np.int64(middles + side + 0.5) for side in (-reach, reach))
    weights[(places < first) | (places >= end)] = 0  # what the rounding of a distance left there
    weights /= weights.sum(1, keepdims=True)
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * 2 ** (bits + 1)) < 2**15:
        bits += 1
    return np.floor(weights * 2**bits + 0.5), bits
