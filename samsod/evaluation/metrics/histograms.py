"""The metrics of one image from its histograms: 256 grey levels by truth and by quarter hold all but the weighted F.

The values are those of the field's reference, PySODMetrics 1.6. Two exceptions: where the truth's centroid falls into
the last row or column, two of the S-measure's four regions are empty and the reference returns nan; here an empty
region counts with its weight, zero. And the E-measure of a single pixel, which the reference divides by N - 1 = 0 plus
an epsilon, is divided by 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

F_BETA_SQUARE = 0.3
S_ALPHA = 0.5
EPS = float(np.spacing(1.0))  # MATLAB's eps, which the reference adds to denominators
NEAR = 1e-9
"""Below it a difference may be one of rounding, and the order in which the reference adds up decides."""


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What one image adds to the metrics of a data set.

    The curves are float64 arrays of length 256; entry t is for the map that keeps predictions of at least t, on
    the scale from 0 to 255 after normalisation. All values are higher for better, but for `mae`.
    """

    s: float
    """S-measure, with both halves weighted 0.5."""
    mae: float
    """Mean absolute error, in [0, 1]."""
    wf: float | None
    """Weighted F-measure, β² = 1; None when it was not asked for."""
    adp_f: float
    """F-measure at the adaptive threshold, twice the mean prediction and at most 1."""
    adp_e: float
    """E-measure at the adaptive threshold."""
    f: np.ndarray
    """F-measure curve, β² = 0.3."""
    e: np.ndarray
    """E-measure curve; a perfect map of N pixels has N / (N - 1), as in the reference."""
    precision: np.ndarray
    """Precision curve; 0 where no pixel is kept."""
    recall: np.ndarray
    """Recall curve; 0 where the truth is all black."""
    further: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What further metrics add, by name; see `Metric.score`."""


def score_histograms(
    counts: np.ndarray, cut: tuple[int, int], values: Callable[[], np.ndarray], wf: float | None
) -> ImageScores:
    """All metrics of one image.

    Args:
        counts: int64, 2×2×2×256: pixels by row half, column half (both parted at `cut`), truth and grey level.
        cut: The first row and the first column of the second halves, see `centroid_cut`.
        values: Gives the normalised map, float64 H×W. It is asked for only where the reference's order of summation
            decides: a grey level at the adaptive threshold, a constant region.
        wf: The weighted F-measure, which histograms cannot give.
    """
    outside, inside = counts.sum(axis=(0, 1))
    total = inside + outside
    levels = normalised_levels(total)
    pixels, positives = int(total.sum()), int(inside.sum())
    mean = mean_level(total, levels, values)
    threshold = min(2 * mean, 1.0)
    tp, fp = kept(inside, levels, threshold), kept(outside, levels, threshold)
    precision, recall, f = f_measure(tp, fp, positives)
    e = _e_measure(tp, fp, positives, pixels)
    if 0 < positives < pixels:
        share = positives / pixels
        similarity = share * _object_score(levels, inside) + (1 - share) * _object_score(1 - levels, outside)
        s = max(0.0, S_ALPHA * similarity + (1 - S_ALPHA) * _region_score(counts, cut, levels, values))
    else:
        s = mean if positives else 1 - mean
    return ImageScores(
        s=s,
        mae=float(outside @ levels + inside @ (1 - levels)) / pixels,
        wf=wf,
        adp_f=float(f[256]),
        adp_e=float(e[256]),
        f=f[:256],
        e=e[:256],
        precision=precision[:256],
        recall=recall[:256],
    )


def normalised_levels(total: np.ndarray) -> np.ndarray:
    """What each of the 256 grey levels becomes when the map is normalised; levels it lacks are cut to [0, 1].

    Args:
        total: pixels by grey level, 256.
    """
    levels = np.arange(256) / 255
    low, high = levels[np.flatnonzero(total)[[0, -1]]]
    return levels if low == high else np.clip((levels - low) / (high - low), 0, 1)


def mean_level(total: np.ndarray, levels: np.ndarray, values: Callable[[], np.ndarray]) -> float:
    """Mean of a map, half of the adaptive threshold.

    Args:
        total: pixels by grey level.
        levels: normalised grey levels, of the same length.
        values: Gives the normalised map, asked for only where a level lies at the threshold, so that the reference's
            order of summation decides.
    """
    mean = float(total @ levels) / int(total.sum())
    if mean > 0 and (np.abs(levels - 2 * mean)[total > 0] < NEAR).any():
        mean = float(values().mean())
    return mean


def kept(histogram: np.ndarray, levels: np.ndarray, threshold: float) -> np.ndarray:
    """How many pixels of a class reach each threshold.

    Args:
        histogram: pixels of the class by grey level, 256.
        levels: normalised grey levels, 256.
        threshold: the adaptive threshold, in [0, 1].

    Returns:
        float64, 257: counts for the thresholds 0 to 255, then for the adaptive one.
    """
    # The reference's curves truncate the normalised map to whole levels; its adaptive threshold does not.
    truncated = np.bincount((levels * 255).astype(np.uint8), weights=histogram, minlength=256)
    return np.append(np.cumsum(truncated[::-1])[::-1], histogram[levels >= threshold].sum())


def centroid_cut(row_sum: int, column_sum: int, positives: int) -> tuple[int, int]:
    """Where the S-measure parts a map in four: right after the truth's centroid.

    Args:
        row_sum: Sum of the row numbers of the truth's pixels.
        column_sum: Sum of their column numbers.
        positives: How many there are; without any the map is not parted.
    """
    return round(row_sum / max(positives, 1)) + 1, round(column_sum / max(positives, 1)) + 1


def f_measure(tp: np.ndarray, fp: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F = (1 + β²)·P·R / (β²·P + R) per threshold; 0 where nothing is hit.

    Source: Achanta et al., "Frequency-tuned salient region detection", CVPR 2009, eq. 12.
    """
    precision, recall = tp / np.maximum(tp + fp, 1), tp / max(positives, 1)
    numerator = (1 + F_BETA_SQUARE) * precision * recall
    return precision, recall, numerator / np.where(numerator == 0, 1, F_BETA_SQUARE * precision + recall)


def _e_measure(tp: np.ndarray, fp: np.ndarray, positives: int, total: int) -> np.ndarray:
    """E-measure per threshold: mean enhanced alignment of the two bias matrices.

    Both maps are binary, so the alignment takes four values, one for each cell of the confusion matrix.
    Source: Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation", IJCAI 2018, eq. 2 to 5.
    """
    kept = tp + fp
    if positives == 0:
        aligned = total - kept
    elif positives == total:
        aligned = kept
    else:
        p, t, fn = kept / total, positives / total, positives - tp
        aligned = tp * _enhanced(1 - p, 1 - t) + fp * _enhanced(1 - p, -t)
        aligned += fn * _enhanced(-p, 1 - t) + (total - kept - fn) * _enhanced(-p, -t)
    return aligned / (max(total - 1, 1) + EPS)


def _enhanced(a: np.ndarray, b: float) -> np.ndarray:
    """Enhanced alignment ((2ab / (a² + b²) + 1) / 2)² of two deviations from the mean."""
    return (2 * a * b / (a**2 + b**2 + EPS) + 1) ** 2 / 4


def _object_score(levels: np.ndarray, histogram: np.ndarray) -> float:
    """2·mean / (mean² + 1 + standard deviation) over the pixels of one class."""
    count = int(histogram.sum())
    mean = float((histogram * levels).sum()) / count
    deviation = math.sqrt(float((histogram * (levels - mean) ** 2).sum()) / max(count - 1, 1))
    return 2 * mean / (mean**2 + 1 + deviation + EPS)


def _region_score(
    counts: np.ndarray, cut: tuple[int, int], levels: np.ndarray, values: Callable[[], np.ndarray]
) -> float:
    """Structural similarity of the four regions around the truth's centroid, weighted by their areas."""
    halves = [(slice(at), slice(at, None)) for at in cut]
    score = 0.0
    for row, column in np.ndindex(2, 2):
        outside, inside = counts[row, column]
        region = halves[0][row], halves[1][column]
        pixels = int(inside.sum() + outside.sum())
        if pixels:
            score += pixels * _similarity(levels, inside, outside, partial(_part, values, region))
    return score / int(counts.sum())


def _part(values: Callable[[], np.ndarray], region: tuple[slice, slice]) -> np.ndarray:
    return values()[region]


def _similarity(levels: np.ndarray, inside: np.ndarray, outside: np.ndarray, values: Callable[[], np.ndarray]) -> float:
    """SSIM without its constants, as in the S-measure; 1 where both regions are constant, or both are black.

    Source: Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017, eq. 5 to 7.
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
