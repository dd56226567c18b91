"""The field's standard metrics but for the weighted F: grey levels counted by truth and by quarter hold all of them.

The values are those of the field's reference, PySODMetrics 1.6. Two exceptions: where the truth's centroid falls into
the last row or column, two of the S-measure's four regions are empty and the reference returns nan; here an empty
region counts with its weight, zero. And the E-measure of a single pixel, which the reference divides by N - 1 = 0 plus
an epsilon, is divided by 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from samsod.evaluation.metrics.histograms import EPS, f_measure
from samsod.evaluation.metrics.metric import KINDS, CurveMetric, Metric
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS

S_ALPHA = 0.5


@METRICS.register("S")
class StructureMeasure(Metric):
    """S-measure, with both halves weighted 0.5: object-aware and region-aware similarity.

    Source: Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017.
    """

    columns = ("S",)

    def score(self, subject: Subject) -> np.ndarray:
        """The measure of one image; of a truth of one class the mean of the map, or what is missing from it to 1."""
        if not 0 < subject.positives < subject.pixels:
            return np.array([subject.mean if subject.positives else 1 - subject.mean])
        share = subject.positives / subject.pixels
        objects = share * _object_score(subject.levels, subject.inside)
        objects += (1 - share) * _object_score(1 - subject.levels, subject.outside)
        return np.array([max(0.0, S_ALPHA * objects + (1 - S_ALPHA) * _region_score(subject))])


@METRICS.register("F")
class FMeasure(CurveMetric, name="F", kinds=KINDS[:3]):
    """F-measure, β² = 0.3; see `f_measure`."""

    def score(self, subject: Subject) -> np.ndarray:
        """The measure at all thresholds."""
        return f_measure(subject.tp, subject.fp, subject.positives)


@METRICS.register("E")
class EnhancedAlignment(CurveMetric, name="E", kinds=KINDS[:3]):
    """E-measure: mean enhanced alignment of the two bias matrices; a perfect map of N pixels has N / (N - 1).

    Both maps are binary, so the alignment takes four values, one for each cell of the confusion matrix.
    Source: Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation", IJCAI 2018, eq. 2 to 5.
    """

    def score(self, subject: Subject) -> np.ndarray:
        """The measure at all thresholds."""
        tp, fp, total = subject.tp, subject.fp, subject.pixels
        kept = tp + fp
        if subject.positives == 0:
            aligned = total - kept
        elif subject.positives == total:
            aligned = kept
        else:
            p, t, fn = kept / total, subject.positives / total, subject.positives - tp
            aligned = tp * _enhanced(1 - p, 1 - t) + fp * _enhanced(1 - p, -t)
            aligned += fn * _enhanced(-p, 1 - t) + (total - kept - fn) * _enhanced(-p, -t)
        return aligned / (max(total - 1, 1) + EPS)


@METRICS.register("MAE")
class MeanAbsoluteError(Metric):
    """Mean absolute error of the normalised map, in [0, 1]."""

    columns = ("MAE",)
    smaller = True

    def score(self, subject: Subject) -> np.ndarray:
        """The error of one image."""
        error = float(subject.outside @ subject.levels + subject.inside @ (1 - subject.levels))
        return np.array([error / subject.pixels])


def _enhanced(a: np.ndarray, b: float) -> np.ndarray:
    """Enhanced alignment ((2ab / (a² + b²) + 1) / 2)² of two deviations from the mean."""
    return (2 * a * b / (a**2 + b**2 + EPS) + 1) ** 2 / 4


def _object_score(levels: np.ndarray, histogram: np.ndarray) -> float:
    """2·mean / (mean² + 1 + standard deviation) over the pixels of one class."""
    count = int(histogram.sum())
    mean = float((histogram * levels).sum()) / count
    deviation = math.sqrt(float((histogram * (levels - mean) ** 2).sum()) / max(count - 1, 1))
    return 2 * mean / (mean**2 + 1 + deviation + EPS)


def _region_score(subject: Subject) -> float:
    """Structural similarity of the four regions around the truth's centroid, weighted by their areas."""
    score = 0.0
    for row, column in np.ndindex(2, 2):
        outside, inside = subject.quarters[row, column]
        values = partial(_part, subject, subject.region(row, column))
        pixels = int(inside.sum() + outside.sum())
        if pixels:
            score += pixels * _similarity(subject.levels, inside, outside, values)
    return score / subject.pixels


def _part(subject: Subject, region: tuple[slice, slice]) -> np.ndarray:
    return subject.values[region]


def _similarity(levels: np.ndarray, inside: np.ndarray, outside: np.ndarray, values: Callable[[], np.ndarray]) -> float:
    """SSIM without its constants, as in the S-measure; 1 where both regions are constant, or both are black.

    `values` gives the normalised region, asked for only where the reference's order of summation decides.
    Source: Fan et al., ICCV 2017, eq. 5 to 7.
    """
    total, positives = inside + outside, int(inside.sum())
    pixels = int(total.sum())
    if positives in (0, pixels):
        return float(_deviates_nowhere(levels, total, values))
    x, y = float(total @ levels) / pixels, positives / pixels
    dx = levels - x
    covariance = float(inside @ dx) * (1 - y) - float(outside @ dx) * y
    squares = float(total @ dx**2) + positives * (1 - y) ** 2 + (pixels - positives) * y**2
    scale = pixels - 1 + EPS
    return 4 * x * y * covariance / scale / ((x**2 + y**2) * squares / scale + EPS)


def _deviates_nowhere(levels: np.ndarray, total: np.ndarray, values: Callable[[], np.ndarray]) -> bool:
    """Whether a region is constant and its mean, in the reference's order of summation, is that constant exactly."""
    present = np.flatnonzero(total)
    if present.size > 1:
        return False
    level = float(levels[present[0]])
    return level in (0.0, 1.0) or float(values().mean()) == level
