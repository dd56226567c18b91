"""Decoding of image files, RGB images, masks and saliency maps, with a one-line error for every bad file.

Orientation tags (Exif) are ignored in every format, as Pillow's plain `Image.open` does: masks and thermal images
rarely carry them, and turning one image of a pair would take it out of register.

A damaged file is one line too, as far as it can be told. A PNG's checksums tell every change. A JPEG has none: what is
noticed is that its end is missing, and what libjpeg notices while it decodes, data that end before the image does or
after it. Of 200 changes each inside real photographs' data that was 20 to 46 % of single bytes (most of the others
change few pixels), 58 to 77 % of 16 bytes and 87 to 97 % of 512 bytes lost; of 2015 whole files none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.data.decoding.file_bytes import is_cut, is_damaged, jpeg_size, orientation, upright
from samsod.data.decoding.opencv import cv2, decode
from samsod.utils.errors import about

__all__ = [
    *("Bytes", "Mask", "as_bytes", "cv2", "decode_stored", "read_orientation", "read_rgb", "read_saliency"),
    *("read_truth", "reduction", "shrink"),
]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

THRESHOLD = 128  # a mask's pixels above it are salient, as in PySODMetrics
GREY_BAND = (32, 223)
GREY_SHARE = 0.10
CHANNEL_TOLERANCE = 8

_AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
_AS_COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Without their colour bits, which would change how many channels come out.
_REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}


def read_rgb(path: str | Path) -> Bytes:
    """Reads a colour image; grey ones are repeated to three channels, alpha is dropped, 16 bits become 8.

    Returns:
        uint8, H×W×3, red first.

    Raises:
        UserError: The file is missing, empty, not an image, truncated or damaged; one line that names it.
    """
    path = Path(path)
    image, _ = _decode(path, _read(path), _AS_COLOR, 1)
    return as_bytes(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def reduction(path: str | Path, least: int) -> int:
    """By how much a JPEG may be reduced while it is decoded, which is several times faster than resizing it.

    Returns:
        8, 4 or 2, if it divides both sides of a JPEG and leaves `least` pixels of them (0: all), else 1.

    Raises:
        UserError: The file cannot be read.
    """
    sides = jpeg_size(_read(Path(path))) if least else None
    if not sides:
        return 1
    return next((n for n in _REDUCED if all(side % n == 0 and side >= n * least for side in sides)), 1)


def decode_stored(path: Path, reduce: int = 1) -> tuple[npt.NDArray[Any], int]:
    """The values an image file holds, without its alpha channel, and what is left of `reduce`.

    Args:
        path: The file.
        reduce: A JPEG whose sides are multiples of it is reduced while it is decoded; nothing else is.

    Returns:
        The values in the type they are stored in, H×W or H×W×3 with blue first, and the factor (1 or `reduce`) by
        which they are still to be shrunk.

    Raises:
        UserError: As in `read_rgb`.
    """
    return _decode(path, _read(path), _AS_STORED, reduce)


def read_orientation(path: str | Path) -> int:
    """The orientation tag of an image file, which nothing else here obeys; 1, upright, without one.

    Raises:
        UserError: The file is missing, empty or cannot be read.
    """
    return orientation(_read(Path(path)))


def shrink(image: Bytes, factor: int) -> tuple[Bytes, int]:
    """Averages squares of `factor` × `factor` pixels; an image that cannot be cut into such stays.

    Returns:
        The image, and by how much its sides were divided, `factor` or 1.
    """
    height, width = image.shape[:2]
    if factor == 1 or height % factor or width % factor:
        return image, 1
    return as_bytes(cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA)), factor


def read_truth(path: str | Path) -> Mask:
    """Reads a mask: a pixel is salient above 128 (as in PySODMetrics), or when not 0 in a mask stored as 0 and 1.

    An image counts as a mask when at most a tenth of its pixels lie in 32-223. Masks of real sets stay well below:
    JPEG at quality 30 leaves 1.1 % there, shrinking to an eighth with anti-aliasing 7.4 %; the median photograph
    has over 80 %. Dark photographs can slip through, a whole folder of them cannot.

    Returns:
        bool, H×W.

    Raises:
        UserError: As in `read_rgb`, or the image is not a mask.
    """
    path = Path(path)
    image, _ = decode_stored(path)
    if image.dtype not in (np.uint8, np.uint16):
        raise about(path, f"holds {image.dtype} values; a mask has 8 or 16 bits a channel")
    if image.ndim == 3:
        image = _single_channel(path, image)
    brightest = int(image.max())
    if brightest <= 1:
        return image > 0
    white = 255 if brightest <= 255 else 65535
    image = as_bytes(image if white == 255 else image >> 8)
    if image.max() <= THRESHOLD:
        raise about(path, f"not a mask: its brightest pixel is {brightest} of {white}; a mask has some above half")
    low, high = GREY_BAND
    grey = cv2.countNonZero(cv2.inRange(image, low, high)) / image.size
    if grey > GREY_SHARE:
        raise about(path, f"not a mask: {grey:.0%} of it is grey ({low} to {high}), expected at most {GREY_SHARE:.0%}")
    return image > THRESHOLD


def read_saliency(path: str | Path) -> Bytes:
    """Reads a saliency map for scoring: nothing is rounded, averaged or resized, since that would change the scores.

    Three channels are taken when they are equal, 16 bits when every value is an 8-bit one times 257 (as programs that
    widen 8 bits write them): the metrics are defined on 256 grey levels, and there are several rules of rounding.

    Returns:
        uint8, H×W.

    Raises:
        UserError: As in `read_rgb`, or the image is in colour or holds more than 256 grey levels.
    """
    path = Path(path)
    image, _ = decode_stored(path)
    if image.dtype not in (np.uint8, np.uint16):
        raise about(path, f"holds {image.dtype} values; a saliency map has 8 or 16 bits")
    if image.ndim == 3:
        if (spread := _channel_spread(image)) > 0:
            raise about(path, f"not a saliency map: its three channels differ (by up to {spread}); expected grey")
        image = np.ascontiguousarray(image[:, :, 0])
    if image.dtype == np.uint16:
        if (image % 257).any():
            raise about(
                path, "holds 16-bit values that are no 8-bit ones, which the metrics are defined on: save it so"
            )
        image = image // 257
    return as_bytes(image)


def as_bytes(image: npt.NDArray[Any]) -> Bytes:
    """For the type checker: OpenCV's stubs do not say that 8 bits stay 8 bits."""
    return image.astype(np.uint8, copy=False)


def _single_channel(path: Path, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    spread = _channel_spread(image)
    if spread > CHANNEL_TOLERANCE * (257 if image.dtype == np.uint16 else 1):
        raise about(path, f"not a mask: its three channels differ (by up to {spread})")
    return image[:, :, 1]


def _channel_spread(image: npt.NDArray[Any]) -> int:
    """By how much the channels of a pixel differ at most."""
    return int((image.max(axis=2).astype(np.int32) - image.min(axis=2)).max())


def _decode(path: Path, data: bytes, flags: int, reduce: int) -> tuple[npt.NDArray[Any], int]:
    """The decoded image, blue first, and the factor it is still to be shrunk by; see `decode_stored`."""
    if is_cut(data):
        raise about(path, "the image is truncated: the file ends before the image does")
    if is_damaged(data):
        raise about(path, "the image is damaged: a checksum in the file does not fit its data")
    if reduce > 1 and (sides := jpeg_size(data)) and not any(side % reduce for side in sides):
        flags, reduce = flags | _REDUCED[reduce], 1
    image, damage = decode(upright(data), flags)
    if damage:
        raise about(path, f"the image is damaged ({damage}): restore it, or save it anew if it looks right")
    if image is None:
        raise about(path, "not an image OpenCV can read, or a damaged one")
    return image, reduce


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise about(path, "no such file") from None
    except OSError as error:
        raise about(path, f"cannot be read: {error.strerror}") from None
    if not data:
        raise about(path, "the file is empty")
    return data
