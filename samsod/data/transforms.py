"""Resizing, photometric augmentation and tensors.

The photometric operations are Pillow's `ImageEnhance` (Haeberli and Voorhies, "Image Processing by Interpolation and
Extrapolation", 1994): each moves the image away from a degenerate one, out = degenerate + factor · (image -
degenerate), clipped to 0-255 and cut to whole numbers. Brightness and contrast equal Pillow's; colour and sharpness
differ by one level at about one byte in a thousand, mostly where Pillow cuts a value just below a whole number. The
four in a row stay within three levels, measured over the default ranges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from samsod import imagenet
from samsod.data.images import Bytes, Mask, cv2
from samsod.data_config import AugmentConfig

_LEVELS = np.arange(256, dtype=np.float32)
_GREY = np.array([[19595, 38470, 7471]], np.float32) / 65536  # ITU-R 601 in 16 bits, as Pillow has it
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
# OpenCV rounds where Pillow cuts; the thousandth keeps whole numbers from being cut to the one below.
_CUT = -0.499


class Factors(NamedTuple):
    """Strength of each photometric operation; 1 leaves the image as it is."""

    brightness: float
    contrast: float
    color: float
    sharpness: float


def draw_factors(config: AugmentConfig, rng: np.random.Generator) -> Factors:
    """Draws each factor uniformly from its range; always four draws, whatever the ranges."""
    return Factors(*(float(rng.uniform(*getattr(config, name))) for name in Factors._fields))


def photometric(image: Bytes, factors: Factors) -> Bytes:
    """Changes brightness, contrast, colour and sharpness, in this order.

    Args:
        image: uint8, H×W×3, red first; stays as it is.
        factors: Strength of each.

    Returns:
        uint8, H×W×3.
    """
    image = adjust_brightness(image, factors.brightness)
    image = adjust_contrast(image, factors.contrast)
    image = adjust_color(image, factors.color)
    return adjust_sharpness(image, factors.sharpness)


def adjust_brightness(image: Bytes, factor: float) -> Bytes:
    """Blends with black; equal to Pillow's `ImageEnhance.Brightness`."""
    return _look_up(image, 0.0, factor)


def adjust_contrast(image: Bytes, factor: float) -> Bytes:
    """Blends with the mean of the grey image, rounded; equal to Pillow's `ImageEnhance.Contrast`."""
    mean = cv2.mean(cv2.transform(image, _GREY))[0]
    return _look_up(image, float(int(mean + 0.5)), factor)


def adjust_color(image: Bytes, factor: float) -> Bytes:
    """Blends with the grey image (ITU-R 601 luma); within one level of Pillow's `ImageEnhance.Color`."""
    grey = cv2.transform(image, _GREY)
    return _blend(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), image, factor)


def adjust_sharpness(image: Bytes, factor: float) -> Bytes:
    """Blends with the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13, its border pixels as they are.

    Within one level of Pillow's `ImageEnhance.Sharpness`.
    """
    result = _blend(cv2.filter2D(image, -1, _SMOOTH), image, factor)
    for border in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        result[border] = image[border]
    return result


def flip(image: Bytes) -> Bytes:
    """Mirrors H×W or H×W×C left to right."""
    return np.ascontiguousarray(image[:, ::-1])


def resize(image: Bytes, size: int) -> Bytes:
    """Resizes H×W or H×W×3 to a square: pixel areas are averaged along a side that shrinks, else interpolated.

    Args:
        image: uint8.
        size: Side of the square in pixels.

    Returns:
        uint8, size×size or size×size×3; the image itself when it has this size.
    """
    height, width = image.shape[:2]
    # OpenCV's INTER_AREA is no average when either side grows, so each side gets what it needs.
    shrunk = (min(width, size), min(height, size))
    if shrunk != (width, height):
        image = _bytes(cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA))
    if shrunk != (size, size):
        image = _bytes(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR))
    return image


def resize_scribbles(foreground: Bytes, labelled: Bytes, size: int) -> tuple[Bytes, Bytes]:
    """Resizes strokes to a square without losing thin ones.

    Args:
        foreground: uint8, H×W, not 0 where a stroke says foreground; counts only where `labelled` does.
        labelled: uint8, H×W, not 0 where any stroke is.
        size: Side of the square in pixels.

    Returns:
        Both uint8, size×size, 0 and 255: a pixel is labelled where a stroke covers any of it, and foreground where that
        is at least half of what is labelled.
    """
    known = _coverage(labelled > 0, size)
    stroke = _coverage((foreground > 0) & (labelled > 0), size)
    is_labelled = known > 0
    is_foreground = is_labelled & (2 * stroke >= known * (1 - 1e-5))  # sums of the same areas may round apart
    return is_foreground.astype(np.uint8) * np.uint8(255), is_labelled.astype(np.uint8) * np.uint8(255)


def to_tensor(image: Bytes, normalize: bool) -> torch.Tensor:
    """Turns an image into the network's input.

    Args:
        image: uint8, H×W×3, red first.
        normalize: Standardise with ImageNet's mean and deviation; otherwise only scale to 0-1.

    Returns:
        float32, 3×H×W.
    """
    result = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(cv2.split(image)):
        mean, deviation = (imagenet.MEAN[channel], imagenet.STD[channel]) if normalize else (0.0, 1.0)
        np.multiply(plane, np.float32(1 / (255 * deviation)), out=result[channel], dtype=np.float32)
        result[channel] -= np.float32(mean / deviation)
    return torch.from_numpy(result)


def _coverage(mask: Mask, size: int) -> npt.NDArray[np.float32]:
    """Which share of each pixel of a square the mask covers, 0 to 1."""
    height, width = mask.shape
    shrunk = cv2.resize(mask.astype(np.float32), (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_NEAREST).astype(np.float32, copy=False)


def _look_up(image: Bytes, degenerate: float, factor: float) -> Bytes:
    """The blend of every pixel with one value, by a table of the 256 results."""
    start = np.float32(degenerate)
    table = start + np.float32(factor) * (_LEVELS - start)
    return _bytes(cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)))


def _blend(degenerate: npt.NDArray[Any], image: Bytes, factor: float) -> Bytes:
    return _bytes(cv2.addWeighted(image, factor, degenerate, 1 - factor, _CUT))


def _bytes(image: npt.NDArray[Any]) -> Bytes:
    return image.astype(np.uint8, copy=False)
