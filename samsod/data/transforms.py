"""Resizing, turning, photometric changes, and images as the network gets them; PyTorch is loaded only for tensors.

The photometric operations are Pillow's `ImageEnhance` (Haeberli and Voorhies, "Image Processing by Interpolation and
Extrapolation", 1994): each moves the image away from a degenerate one, out = degenerate + factor · (image -
degenerate), clipped to 0-255 and cut to whole numbers. Brightness equals Pillow's, and so does contrast unless the
mean grey lies within a few thousandths of a half; colour and sharpness differ by one level at about one byte in a
thousand, mostly where Pillow cuts a value just below a whole number. The four in a row stay within three levels,
measured over the default ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from samsod.data import imagenet
from samsod.data.decoding.images import Bytes, as_bytes, cv2
from samsod.data.resizing import resize_antialiased

if TYPE_CHECKING:
    import torch

_LEVELS = np.arange(256, dtype=np.float32)
# OpenCV rounds where Pillow cuts; the thousandth keeps whole numbers from being cut to the one below.
_CUT = -0.499
_MARGIN = 1e-4


class Factors(NamedTuple):
    """Strength of each photometric operation; 1 leaves the image as it is."""

    brightness: float
    contrast: float
    color: float
    sharpness: float


def photometric(image: Bytes, factors: Factors) -> Bytes:
    """Changes brightness, contrast, colour and sharpness, in this order.

    Args:
        image: uint8, H×W×3 with red first, or H×W with the result its three equal channels would have; stays as it
            is.
        factors: Strength of each.

    Returns:
        uint8 of the same shape.
    """
    image = adjust_brightness(image, factors.brightness)
    image = adjust_contrast(image, factors.contrast, target=image)
    image = adjust_color(image, factors.color)
    return adjust_sharpness(image, factors.sharpness)


def adjust_brightness(image: Bytes, factor: float) -> Bytes:
    """Blends with black; equal to Pillow's `ImageEnhance.Brightness`."""
    return _look_up(image, 0.0, factor)


def adjust_contrast(image: Bytes, factor: float, target: Bytes | None = None) -> Bytes:
    """Blends with the mean of the grey image, rounded; as Pillow's `ImageEnhance.Contrast`.

    `target` is where the result goes, and may be the image itself; None: into a new array.
    """
    mean = cv2.mean(_grey(image))[0]
    return _look_up(image, float(int(mean + 0.5)), factor, target)


def adjust_color(image: Bytes, factor: float) -> Bytes:
    """Blends with the grey image (ITU-R 601 luma); up to factor 2 within one level of Pillow's `ImageEnhance.Color`."""
    if image.ndim == 2:
        return image
    return _blend(cv2.cvtColor(_grey(image), cv2.COLOR_GRAY2RGB), image, factor)


def adjust_sharpness(image: Bytes, factor: float) -> Bytes:
    """Blends with the image smoothed by [1 1 1; 1 5 1; 1 1 1] / 13, its border pixels as they are.

    Within one level of Pillow's `ImageEnhance.Sharpness`.
    """
    # In whole numbers until the division: as exact as one filter of fractions, and faster.
    sums = cv2.boxFilter(image, cv2.CV_16S, (3, 3), normalize=False)
    cv2.add(sums, np.multiply(image, np.int16(4), dtype=np.int16), sums)
    result = _blend(cv2.convertScaleAbs(sums, alpha=1 / 13), image, factor)
    for border in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        result[border] = image[border]
    return result


def flip(image: Bytes) -> Bytes:
    """Mirrors H×W or H×W×C left to right."""
    return np.ascontiguousarray(image[:, ::-1])


def move(image: Bytes, right: int, down: int) -> Bytes:
    """Moves H×W or H×W×C by whole pixels; what comes into view repeats the border."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return image[np.ix_(rows, columns)]


def turn(image: Bytes, degrees: float, aspect: float, blend: bool = True) -> Bytes:
    """Turns the scene on a square image about its centre, counter-clockwise; what was outside is black (0).

    Black in images and maps alike: mirrored pieces of an object in the corners would be labelled background.

    Args:
        image: uint8, S×S or S×S×3.
        degrees: The angle in the scene, not on the square.
        aspect: Width by height of the scene that was resized to the square.
        blend: Interpolate between pixels; otherwise each is one of the image's.
    """
    side = image.shape[0]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.array([[cosine, sine / aspect], [-sine * aspect, cosine]])
    centre = np.full(2, (side - 1) / 2)
    matrix = np.column_stack([turned, centre - turned @ centre])
    flags = cv2.INTER_LINEAR if blend else cv2.INTER_NEAREST
    return as_bytes(cv2.warpAffine(image, matrix, (side, side), flags=flags, borderValue=(0, 0, 0, 0)))


def resize(images: Sequence[Bytes], size: int) -> list[Bytes]:
    """Resizes images of any sizes to squares, each as if alone.

    Bilinear with the kernel widened by the factor of reduction, as in Pillow's `Image.resize`, and within two levels
    of it. The work on four channels costs no more than on one, so maps ride along with colour images of their size.

    Args:
        images: uint8, H×W or H×W×3.
        size: Side of the square in pixels.

    Returns:
        uint8, size×size or size×size×3; the images themselves when they have this size.
    """
    results = list(images)
    for shape in {image.shape[:2] for image in images} - {(size, size)}:
        alike = [index for index, image in enumerate(images) if image.shape[:2] == shape]
        for index, result in zip(alike, _resize_alike([images[index] for index in alike], size), strict=True):
            results[index] = result
    return results


def _resize_alike(images: Sequence[Bytes], size: int) -> list[Bytes]:
    """`resize` for images of one size."""
    results = list(images)
    riders = [index for index, image in enumerate(images) if image.ndim == 2]
    for index, image in enumerate(images):
        if image.ndim == 3:
            packed = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
            rider = riders.pop() if riders else None
            if rider is not None:
                cv2.insertChannel(images[rider], packed, 3)
            packed = resize_antialiased(packed, size)
            results[index] = as_bytes(cv2.cvtColor(packed, cv2.COLOR_RGBA2RGB))
            if rider is not None:
                results[rider] = as_bytes(cv2.extractChannel(packed, 3))
    for rider in riders:
        packed = resize_antialiased(cv2.cvtColor(images[rider], cv2.COLOR_GRAY2RGBA), size)
        results[rider] = as_bytes(cv2.extractChannel(packed, 0))
    return results


def single_channel(image: Bytes) -> Bytes:
    """H×W for H×W×3 whose channels are equal, the image itself otherwise."""
    if image.ndim == 2:
        return image
    few = image[::16]
    if not np.array_equal(few[..., 0], few[..., 1]):  # spares colours the rest
        return image
    first, second, third = cv2.split(image)
    return as_bytes(first) if np.array_equal(first, second) and np.array_equal(first, third) else image


def resize_scribbles(foreground: Bytes, labelled: Bytes, size: int) -> tuple[Bytes, Bytes]:
    """Resizes strokes to a square without losing thin ones.

    Args:
        foreground: uint8, H×W, 255 where a stroke says foreground; counts only where there is one.
        labelled: uint8, H×W, 255 where any stroke is, else 0.
        size: Side of the square in pixels.

    Returns:
        Both uint8, size×size, 0 and 255: a pixel is labelled where a stroke covers any of it, and foreground where that
        is at least half of what is labelled.
    """
    known, stroke = _averaged(labelled, size), _averaged(np.minimum(foreground, labelled), size)
    is_labelled = known > 0
    is_foreground = is_labelled & (2 * stroke >= known * (1 - 1e-5))  # sums of the same areas may round apart
    return is_foreground.view(np.uint8) * np.uint8(255), is_labelled.view(np.uint8) * np.uint8(255)


def to_planes(image: Bytes, normalize: bool) -> npt.NDArray[np.float32]:
    """Turns an image into the network's input.

    Args:
        image: uint8, H×W×3 with red first, or H×W for three equal channels.
        normalize: Standardise with ImageNet's mean and deviation; otherwise only scale to 0-1.

    Returns:
        float32, 3×H×W.
    """
    # NumPy and not torch, whose threads would wait for each other beside busy loader processes.
    result = np.empty((3, *image.shape[:2]), np.float32)
    planes = cv2.split(image) if image.ndim == 3 else (image, image, image)
    for plane, target, mean, deviation in zip(planes, result, imagenet.MEAN, imagenet.STD, strict=True):
        np.copyto(target, plane)
        target *= np.float32(1 / (255 * deviation) if normalize else 1 / 255)
        if normalize:
            target -= np.float32(mean / deviation)
    return result


def to_tensor(image: Bytes, normalize: bool) -> torch.Tensor:
    """`to_planes` as a tensor."""
    import torch

    return torch.from_numpy(to_planes(image, normalize))


def map_to_tensor(image: Bytes) -> torch.Tensor:
    """Turns a map, uint8 H×W, into float32 1×H×W in 0-1."""
    import torch

    return torch.from_numpy(np.divide(image[None], np.float32(255), dtype=np.float32))


def _averaged(image: Bytes, size: int) -> npt.NDArray[np.float32]:
    """The mean over the area of each pixel of a square, or what lies under its middle where a side grows."""
    height, width = image.shape
    shrunk = cv2.resize(image.astype(np.float32), (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_NEAREST).astype(np.float32, copy=False)


def _grey(image: Bytes) -> npt.NDArray[Any]:
    """ITU-R 601 luma. OpenCV's weights have 15 bits, Pillow's 16: a level of difference at 2 to 3 pixels in 1,000."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image


def _look_up(image: Bytes, degenerate: float, factor: float, target: Bytes | None = None) -> Bytes:
    """The blend of every pixel with one value, by a table of the 256 results, or what equals it."""
    start = np.float32(degenerate)
    table = start + np.float32(factor) * (_LEVELS - start)
    if (table % 1).max() < 1 - 2 * _MARGIN:  # arithmetic, three times as fast, cuts no value differently
        return as_bytes(cv2.addWeighted(image, factor, image, 0, (1 - factor) * degenerate - 0.5 + _MARGIN, target))
    return as_bytes(cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8), target))


def _blend(degenerate: npt.NDArray[Any], image: Bytes, factor: float) -> Bytes:
    """The blend, in the place of `degenerate`."""
    return as_bytes(cv2.addWeighted(image, factor, degenerate, 1 - factor, _CUT, degenerate))
