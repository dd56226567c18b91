"""The images themselves, for the metrics that look at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from samsod.data.decoding.images import read_rgb
from samsod.utils.errors import about


def photo_reader(path: Path, truth: np.ndarray) -> Callable[[], np.ndarray]:
    """Reads an image when it is asked for: uint8 H×W×3, red first.

    Args:
        path: The image.
        truth: Its truth, H×W.

    Returns:
        A function that raises UserError when the file cannot be used, or is not of the truth's size.
    """

    def read() -> np.ndarray:
        photo = read_rgb(path)
        if photo.shape[:2] != truth.shape:
            sizes = [f"{width}x{height}" for height, width in (photo.shape[:2], truth.shape)]
            raise about(path, f"is {sizes[0]}, but its truth is {sizes[1]} pixels wide and high")
        return photo

    return read
