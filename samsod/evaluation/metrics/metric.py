"""What a metric is: the numbers one image adds, and the columns that come of their mean over images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from samsod.evaluation.metrics.subject import CURVE, Subject

KINDS = ("max", "mean", "adp", "bin")
"""Over the 256 thresholds the largest and the mean, at the adaptive threshold, and for what is above one half."""


class Metric(ABC):
    """A metric, computed when its name is asked for.

    One is a class in a file of its own, filed by `@METRICS.register(NAME)`. Everything in its columns is a function of
    the mean over images of what `score` gives, so that sets, groups, videos and resamples of them need nothing more.
    """

    columns: ClassVar[tuple[str, ...]]
    """Names of its columns in tables, in order."""
    size: ClassVar[int] = 1
    """How many numbers `score` gives."""
    smaller: ClassVar[bool] = False
    """Whether smaller values are better, as of errors."""
    needs_photo: ClassVar[bool] = False
    """Whether it looks at the image, not at map and truth alone."""

    @abstractmethod
    def score(self, subject: Subject) -> np.ndarray:
        """What one image adds: float64, `[size]`."""

    def summary(self, mean: np.ndarray) -> list[np.ndarray]:
        """The columns' values.

        Args:
            mean: float64, `[..., size]`: means over images.

        Returns:
            An array `[...]` for each column.
        """
        return [mean[..., i] for i in range(len(self.columns))]


class CurveMetric(Metric):
    """A metric of a binary map: for each threshold of a curve, for the adaptive one and for one half.

    `class IoU(CurveMetric, name="IoU")` has the columns maxIoU, meanIoU, adpIoU and binIoU.
    """

    size = CURVE + 2
    _kinds: ClassVar[tuple[str, ...]] = KINDS

    def __init_subclass__(cls, name: str = "", kinds: tuple[str, ...] = KINDS) -> None:
        """Names the columns.

        Args:
            name: What stands behind the kind.
            kinds: Which of `KINDS`, or `min`, the smallest over the thresholds.
        """
        if name:
            cls._kinds, cls.columns = kinds, tuple(kind + name for kind in kinds)

    def summary(self, mean: np.ndarray) -> list[np.ndarray]:
        """Maximum (or minimum) and mean of the mean curve, and the means at the two thresholds."""
        curve = mean[..., :-2]
        values = {"max": curve.max(-1), "min": curve.min(-1), "mean": curve.mean(-1)}
        values |= {"adp": mean[..., -2], "bin": mean[..., -1]}
        return [values[kind] for kind in self._kinds]


def ratio(numerator: np.ndarray, denominator: np.ndarray | float) -> np.ndarray:
    """Their quotient, and 0 where the denominator is 0, as PySODMetrics has it."""
    return numerator / np.where(denominator == 0, np.inf, denominator)
