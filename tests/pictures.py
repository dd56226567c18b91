"""What tests look at in a picture."""

from __future__ import annotations

import numpy as np


def count_colours(picture: np.ndarray) -> int:
    """How many colours an RGB image `[...,3]` has."""
    return len(np.unique(picture.astype(np.int64) @ np.array([1, 256, 65536])))
