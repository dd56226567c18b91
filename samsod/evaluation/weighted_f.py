"""The weighted F-measure of one map."""

from __future__ import annotations

import math

import numpy as np

from samsod.evaluation.distance import nearest_foreground

EPS = float(np.spacing(1.0))  # MATLAB's eps, which the reference adds to denominators


def weighted_f_measure(values: np.ndarray, truth: np.ndarray) -> float:
    """Weighted F-measure, β² = 1; 0 for an all-black truth.

    Errors inside the truth are eased by those of their neighbours, errors outside weigh up to twice as much with
    the distance to the truth.
    Source: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014, eq. 5 to 10, and its published code.

    Args:
        values: normalised prediction, H×W.
        truth: bool, H×W.
    """
    positives = np.count_nonzero(truth)
    if positives == 0:
        return 0.0
    nearest, square = nearest_foreground(truth)
    error = np.abs(values - truth)
    eased = np.minimum(error, _smoothed(error.ravel()[nearest]))
    missed = float(eased[truth].sum())
    hits = positives - missed
    importance = 2 - np.exp(math.log(0.5) / 5 * np.sqrt(square[~truth]))
    false_alarms = float((error[~truth] * importance).sum())
    recall, precision = 1 - missed / positives, hits / (hits + false_alarms + EPS)
    return 2 * recall * precision / (recall + precision + EPS)


def _smoothed(image: np.ndarray) -> np.ndarray:
    """7×7 Gaussian of σ = 5 pixels, zeros beyond the border; H×W to H×W."""
    kernel = np.exp(-(np.arange(-3, 4) ** 2) / 50.0)
    kernel /= kernel.sum()
    (height, width), padded = image.shape, np.pad(image, 3)
    rows = sum(weight * padded[i : i + height] for i, weight in enumerate(kernel))
    return sum((weight * rows[:, i : i + width] for i, weight in enumerate(kernel)), np.zeros_like(image))
