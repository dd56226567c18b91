"""One map and its truth, as a metric sees them: what several metrics need is computed once, and only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.histograms import kept, mean_level, normalised_levels

CURVE = 256
"""Thresholds of a curve; entry t keeps what is at least t of 255."""
ADAPTIVE, HALF = CURVE, CURVE + 1
"""Where, behind the curve, the entries at the adaptive threshold and for what is above one half lie."""

EXACT = 2**24
"""Below it a float32 counts exactly."""


class Subject:
    """What there is to score; the prediction is stretched to [0, 1] by its own minimum and maximum.

    Args:
        prediction: uint8, H×W, 0 (background) to 255 (salient); a constant map is divided by 255.
        truth: bool, or uint8 with values above 128 salient; H×W.
        photo: Gives the image that the map is of, uint8 H×W×3, red first; None where nobody named one.

    Attributes:
        prediction: uint8, H×W.
        truth: bool, H×W.
        cut: The first row and column of the second halves: the map is parted right after the truth's centroid.
        quarters: int64, 2×2×2×256: pixels by row half, column half, truth and grey level.

    Raises:
        ValueError: An array is no non-empty two-dimensional array of these types, or their shapes differ.
    """

    def __init__(
        self, prediction: np.ndarray, truth: np.ndarray, photo: Callable[[], np.ndarray] | None = None
    ) -> None:
        self.prediction, self.truth = _checked(prediction, truth)
        self.photo = photo
        mask = self.truth.view(np.uint8)
        rows, columns = (cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for axis in (1, 0))
        self.positives = int(rows.sum())
        self.cut = tuple(
            round(int(sums @ np.arange(sums.size)) / max(self.positives, 1)) + 1 for sums in (rows, columns)
        )
        self.quarters = np.zeros((2, 2, 2, 256), np.int64)
        for row, column in np.ndindex(2, 2):
            part = self.region(row, column)
            self.quarters[row, column] = _histograms(self.prediction[part], mask[part])
        self.outside, self.inside = self.quarters.sum(axis=(0, 1))

    def region(self, row: int, column: int) -> tuple[slice, slice]:
        """Where one of the quarters lies, 0 or 1 each way."""
        down, right = ((slice(at), slice(at, None)) for at in self.cut)
        return down[row], right[column]

    @cached_property
    def levels(self) -> np.ndarray:
        """What each grey level becomes when the map is normalised: float64, 256."""
        return normalised_levels(self.inside + self.outside)

    @cached_property
    def values(self) -> np.ndarray:
        """The normalised map, float64 H×W, 0 to 1."""
        return self.levels[self.prediction]

    @cached_property
    def mean(self) -> float:
        """The mean of the normalised map."""
        return mean_level(self.inside + self.outside, self.levels, lambda: self.values)

    @property
    def threshold(self) -> float:
        """The adaptive threshold: twice the mean of the normalised map, and at most 1."""
        return min(2 * self.mean, 1.0)

    @cached_property
    def half(self) -> np.ndarray:
        """The map cut at one half, bool H×W."""
        return (self.levels > 0.5)[self.prediction]

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.truth.size

    @cached_property
    def tp(self) -> np.ndarray:
        """Salient pixels kept: float64, the 256 thresholds, then `ADAPTIVE` and `HALF`."""
        return self.kept(self.inside)

    @cached_property
    def fp(self) -> np.ndarray:
        """Other pixels kept, in the same order."""
        return self.kept(self.outside)

    def kept(self, histogram: np.ndarray) -> np.ndarray:
        """How many pixels of a class, counted by grey level, are kept; see `kept`."""
        return kept(histogram, self.levels, self.threshold)


def _checked(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and boolean truth, contiguous: sums, and with them the last bits, follow the memory's order."""
    if prediction.dtype != np.uint8 or prediction.ndim != 2:
        raise ValueError(
            f"prediction must be a two-dimensional uint8 array, got {prediction.dtype} of shape {prediction.shape}"
        )
    if truth.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"truth must be bool or uint8, got {truth.dtype}")
    if truth.shape != prediction.shape:
        raise ValueError(f"prediction and truth differ in shape: {prediction.shape} and {truth.shape}")
    if not prediction.size:
        raise ValueError(f"prediction and truth are empty: shape {prediction.shape}")
    truth = truth if truth.dtype == np.bool_ else truth > 128
    return np.ascontiguousarray(prediction), np.ascontiguousarray(truth)


def _histograms(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels of each grey level where the mask, uint8, is 0 and where it is 1: int64, 2×256."""
    if not image.size:
        return np.zeros((2, 256), np.int64)
    if image.size < EXACT:  # OpenCV counts faster than NumPy, but hands out float32
        return cv2.calcHist([mask, image], [0, 1], None, [2, 256], [0, 2, 0, 256]).astype(np.int64)
    return np.array([np.bincount(image[mask == side], minlength=256) for side in (0, 1)])
