"""One map and its truth, as a metric sees them: what several metrics need is computed once, and only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from samsod.evaluation.metrics.histograms import kept, mean_level, normalised_levels

CURVE = 256
"""Thresholds of a curve; entry t keeps what is at least t of 255."""
ADAPTIVE, HALF = CURVE, CURVE + 1
"""Where, behind the curve, the entries at the adaptive threshold and for what is above one half lie."""


class Subject:
    """What there is to score.

    Args:
        prediction: uint8, H×W.
        truth: bool, H×W.
        counts: int64, 2×256: pixels by truth and grey level.
        photo: Gives the image that the map is of, uint8 H×W×3, red first; None where nobody named one.
    """

    def __init__(
        self,
        prediction: np.ndarray,
        truth: np.ndarray,
        counts: np.ndarray,
        photo: Callable[[], np.ndarray] | None = None,
    ) -> None:
        self.prediction, self.truth, self.photo = prediction, truth, photo
        self.outside, self.inside = counts

    @cached_property
    def levels(self) -> np.ndarray:
        """What each grey level becomes when the map is normalised: float64, 256."""
        return normalised_levels(self.inside + self.outside)

    @cached_property
    def values(self) -> np.ndarray:
        """The normalised map, float64 H×W, 0 to 1."""
        return self.levels[self.prediction]

    @cached_property
    def threshold(self) -> float:
        """The adaptive threshold: twice the mean of the normalised map, and at most 1."""
        return min(2 * mean_level(self.inside + self.outside, self.levels, lambda: self.values), 1.0)

    @cached_property
    def half(self) -> np.ndarray:
        """The map cut at one half, bool H×W."""
        return (self.levels > 0.5)[self.prediction]

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.truth.size

    @cached_property
    def positives(self) -> int:
        """How many are salient in the truth."""
        return int(self.inside.sum())

    @cached_property
    def tp(self) -> np.ndarray:
        """Salient pixels kept: float64, the 256 thresholds, then `ADAPTIVE` and `HALF`."""
        return self.kept(self.inside)

    @cached_property
    def fp(self) -> np.ndarray:
        """Other pixels kept, in the same order."""
        return self.kept(self.outside)

    def kept(self, histogram: np.ndarray) -> np.ndarray:
        """How many pixels of a class are kept.

        Args:
            histogram: pixels of the class by grey level, 256.

        Returns:
            float64, 258: for the thresholds 0 to 255, the adaptive one and one half.
        """
        return np.append(kept(histogram, self.levels, self.threshold), histogram[self.levels > 0.5].sum())
