"""Decoding of image files, RGB images, masks and saliency maps, with a one-line error for every bad file.

Take `cv2` from this file instead of importing it, so that a server without libGL gets one clear line.

Orientation tags (EXIF) are ignored everywhere, as Pillow's plain `Image.open` does: masks and thermal images
rarely carry them, and turning one image of a pair would take it out of register.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.data.decoding.file_bytes import is_cut, is_damaged, jpeg_size
from samsod.utils.errors import UserError


def _explain(error: ImportError) -> str:
    """One line on why `import cv2` failed and what mends it."""
    if isinstance(error, ModuleNotFoundError):
        return f"opencv-python is not installed: pip install opencv-python ({error})"
    if "libGL" in str(error):
        return (
            "opencv-python cannot find libGL: install opencv-python-headless in its place, or the system package libgl1"
        )
    cause = " ".join(str(error).split())
    return f"opencv-python cannot be imported ({cause}): opencv-python-headless needs fewer system libraries"


try:
    import cv2
except ImportError as import_error:
    raise UserError(_explain(import_error)) from import_error

__all__ = [
    *("Bytes", "Mask", "as_bytes", "cv2", "decode_stored", "read_rgb", "read_saliency", "read_truth", "reduction"),
    "shrink",
]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

THRESHOLD = 128  # a mask's pixels above it are salient, as in PySODMetrics
GREY_BAND = (32, 223)
GREY_SHARE = 0.10
CHANNEL_TOLERANCE = 8

# OpenCV 5 moved these two functions.
_LOGGING: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
_AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
_AS_COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Without their colour bits, which would change how many channels come out.
_REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}


class _Quiet:
    """Silences OpenCV, whose own report would stand beside the one line, while any thread is within."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the lock's holder may be a thread that a fork leaves behind

    def _reset(self) -> None:
        self._lock, self._within, self._level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._level = _LOGGING.getLogLevel()
                _LOGGING.setLogLevel(0)
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                _LOGGING.setLogLevel(self._level)


_QUIET = _Quiet()


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

    Args:
        path: The file.
        least: Pixels that are to be left on either side; 0: all.

    Returns:
        8, 4 or 2, if it divides both sides of a JPEG, else 1.

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


def shrink(image: Bytes, factor: int) -> Bytes:
    """Averages squares of `factor` × `factor` pixels; an image that cannot be cut into them stays as it is."""
    height, width = image.shape[:2]
    if factor == 1 or height % factor or width % factor:
        return image
    return as_bytes(cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA))


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
        raise UserError(f"{path}: holds {image.dtype} values; a mask has 8 or 16 bits a channel")
    if image.ndim == 3:
        image = _single_channel(path, image)
    brightest = int(image.max())
    if brightest <= 1:
        return image > 0
    white = 255 if brightest <= 255 else 65535
    image = as_bytes(image if white == 255 else image >> 8)
    if image.max() <= THRESHOLD:
        raise UserError(
            f"{path}: not a mask: its brightest pixel is {brightest} of {white}, "
            "and salient ones are above half, or 1 in a mask of 0 and 1"
        )
    low, high = GREY_BAND
    grey = cv2.countNonZero(cv2.inRange(image, low, high)) / image.size
    if grey > GREY_SHARE:
        raise UserError(
            f"{path}: not a mask: {grey:.0%} of its pixels are neither dark nor bright "
            f"({low} to {high}; expected at most {GREY_SHARE:.0%})"
        )
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
        raise UserError(f"{path}: holds {image.dtype} values; a saliency map has 8 or 16 bits")
    if image.ndim == 3:
        if (spread := _channel_spread(image)) > 0:
            raise UserError(
                f"{path}: not a saliency map: its three channels differ (by up to {spread}); expected a grey image"
            )
        image = np.ascontiguousarray(image[:, :, 0])
    if image.dtype == np.uint16:
        if (image % 257).any():
            raise UserError(
                f"{path}: holds 16-bit values that are no 8-bit ones; the metrics are defined on 8 bits: save it so"
            )
        image = image // 257
    return as_bytes(image)


def as_bytes(image: npt.NDArray[Any]) -> Bytes:
    """For the type checker: OpenCV's stubs do not say that 8 bits stay 8 bits."""
    return image.astype(np.uint8, copy=False)


def _single_channel(path: Path, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    spread = _channel_spread(image)
    if spread > CHANNEL_TOLERANCE * (257 if image.dtype == np.uint16 else 1):
        raise UserError(f"{path}: not a mask: its three channels differ (by up to {spread})")
    return image[:, :, 1]


def _channel_spread(image: npt.NDArray[Any]) -> int:
    """By how much the channels of a pixel differ at most."""
    return int((image.max(axis=2).astype(np.int32) - image.min(axis=2)).max())


def _decode(path: Path, data: bytes, flags: int, reduce: int) -> tuple[npt.NDArray[Any], int]:
    """The decoded image, blue first, and the factor it is still to be shrunk by; see `decode_stored`."""
    if is_cut(data):
        raise UserError(f"{path}: the image is truncated: the file ends before the image does")
    if is_damaged(data):
        raise UserError(f"{path}: the image is damaged: a checksum in the file does not fit its data")
    if reduce > 1 and (sides := jpeg_size(data)) and not any(side % reduce for side in sides):
        flags, reduce = flags | _REDUCED[reduce], 1
    with _QUIET:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            image = None
    if image is None:
        raise UserError(f"{path}: not an image OpenCV can read, or a damaged one")
    return image, reduce


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise UserError(f"{path}: the file is empty")
    return data
