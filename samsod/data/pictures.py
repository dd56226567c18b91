"""Saliency maps as pictures, and PNG files written whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.config.schema import TestConfig
from samsod.data.decoding.file_bytes import PNG_END
from samsod.data.decoding.images import Bytes, cv2
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


def write_png(path: Path, image: npt.NDArray[Any]) -> None:
    """Writes an image, `[H,W]` grey or `[H,W,3]` RGB uint8, whole or not at all."""
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", ordered)
    write_bytes(path, data.data)


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
