"""Saliency maps as pictures, and pictures as files."""

from __future__ import annotations

import base64
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.config.schema import TestConfig
from samsod.data.decoding.file_bytes import PNG_END
from samsod.data.decoding.images import Bytes, as_bytes, cv2
from samsod.utils.files import write_bytes

Floats = npt.NDArray[np.float32]


def to_saliency(logits: Floats, shape: tuple[int, ...], settings: TestConfig) -> Floats:
    """The saliency map of an image (SPEC 1.5).

    By default the logits are resized bilinearly, then comes the sigmoid, then the stretch, as in the released code.

    Args:
        logits: `[S,S]`, finite.
        shape: Height and width of the image.
        settings: `resize` says what is resized, logits or saliency, and `normalize_maps` whether the map is stretched
            from its own minimum and maximum to 0-1; a constant map stays as it is.

    Returns:
        float32 in 0-1, of that shape.
    """
    size = shape[1], shape[0]
    saliency: npt.NDArray[Any]
    if settings.resize == "logits":
        saliency = _sigmoid(cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR))
    else:
        saliency = cv2.resize(_sigmoid(logits), size, interpolation=cv2.INTER_LINEAR)
    low, high = float(saliency.min()), float(saliency.max())
    if settings.normalize_maps and high > low:
        saliency = (saliency - low) / (high - low)
    return saliency.astype(np.float32, copy=False)


def quantised(saliency: Floats) -> Bytes:
    """A saliency map as the 8-bit picture that is saved and scored."""
    return np.rint(saliency * 255).astype(np.uint8)


def to_grey(logits: Floats, shape: tuple[int, ...], settings: TestConfig) -> Bytes:
    """`to_saliency` as the 8-bit picture that is saved and scored."""
    return quantised(to_saliency(logits, shape, settings))


def shrunk(image: npt.NDArray[Any], width: float, height: float = math.inf) -> Bytes:
    """An image in its proportions, of so many pixels at most; never enlarged."""
    scale = min(width / image.shape[1], height / image.shape[0])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return as_bytes(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def encoded(image: npt.NDArray[Any], ending: str) -> bytes:
    """An image, `[H,W]` grey or `[H,W,3]` RGB uint8, as a file of that ending."""
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(ending, ordered)[1].tobytes()


def data_uri(file: bytes, ending: str) -> str:
    """The content of an image file of that ending as text that a page embeds."""
    kind = {".jpg": "jpeg", ".svg": "svg+xml"}.get(ending, ending[1:])
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def write_png(path: Path, image: npt.NDArray[Any]) -> None:
    """Writes an image as of `encoded`, whole or not at all."""
    write_bytes(path, encoded(image, ".png"))


def is_whole_png(path: Path) -> bool:
    """Whether a file is there and ends as a PNG does; a crash of the machine may leave less."""
    try:
        with path.open("rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False


def _sigmoid(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # where it is 0
        return np.asarray(1 / (1 + np.exp(-logits)))
