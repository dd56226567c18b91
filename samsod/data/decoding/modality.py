"""Reading an image of any modality: photographs, thermal or depth, integers or temperatures, with pixels missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.config.data_schema import ModalityConfig
from samsod.data.decoding.images import Bytes, Mask, as_bytes, cv2, decode_stored, shrink
from samsod.utils.errors import UserError


def read_modality(path: str | Path, config: ModalityConfig, reduce: int = 1) -> Bytes:
    """The image alone that `read_reduced` gives."""
    return read_reduced(path, config, reduce)[0]


def read_reduced(path: str | Path, config: ModalityConfig, reduce: int) -> tuple[Bytes, int]:
    """Reads an image of one channel or three, whatever it is stored in.

    One channel is repeated to three, alpha is dropped. 8-bit values stay as they are unless there is a
    `config.range`; 16-bit and floating-point ones become 255 · (value - low) / (high - low), clipped and rounded,
    with low and high the image's own extremes (0 everywhere in a constant image) or the range; with scale `cut` of 16
    bits the upper 8 are left. Then come `config.invert` and, where there is no reading, `config.fill`: an image
    without any reading is black.

    Args:
        path: The file.
        config: How its values are to be taken; a scale that is left open counts as `image`.
        reduce: Both sides are divided by it, if they are multiples of it.

    Returns:
        uint8, H×W×3, red first; and by how much its sides were divided, `reduce` or 1.

    Raises:
        UserError: The file is missing, empty, not an image, truncated or damaged; or its values have no natural
            range and `config` gives none. One line that names it.
    """
    early = config.missing is None  # else averaging would mix missing values into their neighbours
    image, left = decode_stored(Path(path), reduce) if early else (decode_stored(Path(path))[0], reduce)
    result = to_8_bits(image, config, str(path))
    colour = cv2.cvtColor(result, cv2.COLOR_GRAY2RGB if result.ndim == 2 else cv2.COLOR_BGR2RGB)
    shrunk, factor = shrink(as_bytes(colour), left)
    return shrunk, factor if left > 1 else reduce


def to_8_bits(image: npt.NDArray[Any], config: ModalityConfig, called: str) -> Bytes:
    """The values of an image as 8 bits, as `read_modality` says.

    Args:
        image: H×W or H×W×3, in any order of channels, which stays; it is not changed, but may be the result.
        config: How its values are to be taken.
        called: What messages call the image.

    Raises:
        UserError: The values have no natural range and `config` gives none.
    """
    missing = _missing(image, config.missing)
    if image.dtype == np.uint8 and not config.range:
        result: Bytes = image.copy() if missing is not None else image
    elif config.scale == "cut":
        result = _cut(called, image)
    else:
        result = _stretched(image, missing, *_bounds(called, image, missing, config))
    if config.invert:
        result = as_bytes(cv2.bitwise_not(result))
    if missing is not None:
        result[missing] = 0 if config.fill == "zero" or missing.all() else _nearest(result, missing)
    return result


def _cut(called: str, image: npt.NDArray[Any]) -> Bytes:
    """The upper 8 bits of 16."""
    if image.dtype != np.uint16:
        raise UserError(f"{called}: holds {image.dtype} values; only 16 bits are cut to 8 (see its modality's scale)")
    return as_bytes(image >> 8)


def _missing(image: npt.NDArray[Any], value: float | None) -> Mask | None:
    """Where there is no reading, H×W; None when there is one everywhere."""
    if value is None and image.dtype.kind != "f":
        return None
    channels = image.reshape(*image.shape[:2], -1)
    missing: Mask = ~np.isfinite(channels).all(axis=2)
    if value is not None:
        missing |= (channels == value).all(axis=2)
    return missing if missing.any() else None


def _bounds(called: str, image: npt.NDArray[Any], missing: Mask | None, config: ModalityConfig) -> tuple[float, float]:
    """The values that become 0 and 255."""
    if config.scale != "fixed":
        readings = image if missing is None else image[~missing]
        return (float(readings.min()), float(readings.max())) if readings.size else (0.0, 0.0)
    if config.range:
        return config.range[0], config.range[1]
    if image.dtype == np.uint16:
        return 0.0, 65535.0
    raise UserError(f"{called}: holds {image.dtype} values, and scale is fixed: say in range which become 0 and 255")


def _stretched(image: npt.NDArray[Any], missing: Mask | None, low: float, high: float) -> Bytes:
    exact = np.result_type(image.dtype, np.float32)
    values = image.astype(exact)
    if missing is not None:
        values[missing] = low
    values -= exact.type(low)
    values *= exact.type(255 / (high - low) if high > low else 0)
    return np.rint(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8)


def _nearest(image: Bytes, missing: Mask) -> npt.NDArray[np.uint8]:
    """The reading nearest to every missing pixel (by OpenCV's distance transform, exact to some hundredths)."""
    _, labels = cv2.distanceTransformWithLabels(
        missing.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    readings = np.empty((int(labels.max()) + 1, *image.shape[2:]), np.uint8)
    readings[labels[~missing]] = image[~missing]
    nearest: npt.NDArray[np.uint8] = readings[labels[missing]]
    return nearest
