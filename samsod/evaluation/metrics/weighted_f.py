"""The weighted F-measure of one map."""

from __future__ import annotations

import math

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.distance import spread_outwards, squared_distance
from samsod.evaluation.metrics.histograms import EPS

REACH = 3
"""The Gaussian's window of 7 by 7 goes so many pixels beyond its centre."""
KERNEL = np.exp(-(np.arange(-REACH, REACH + 1) ** 2) / 50.0)
KERNEL /= KERNEL.sum()

# By squared distance; from 256 pixels on it is 2 to the last bits. The truth itself, at 0, has no false alarms.
_IMPORTANCE = 2 - np.exp(math.log(0.5) / 5 * np.sqrt(np.arange(2**16)))
_IMPORTANCE[0] = 0


def weighted_f_measure(values: np.ndarray, truth: np.ndarray) -> float:
    """Weighted F-measure, β² = 1; 0 for an all-black truth.

    Errors inside the truth are eased by those of their neighbours, errors outside weigh up to twice as much with
    the distance to the truth.
    Source: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014, eq. 5 to 10, and its published code.

    Args:
        values: normalised prediction, H×W.
        truth: bool, H×W.
    """
    positives = int(np.count_nonzero(truth))
    if positives == 0:
        return 0.0
    square = squared_distance(truth)
    false_alarms = float(np.vdot(values, _IMPORTANCE.take(square)))
    return from_errors(positives, _missed(values, truth, square), false_alarms)


def from_errors(positives: int, missed: float, false_alarms: float) -> float:
    """Weighted F-measure of the eased errors inside the truth and the weighted ones outside, each summed up."""
    hits = positives - missed
    recall, precision = 1 - missed / positives, hits / (hits + false_alarms + EPS)
    return 2 * recall * precision / (recall + precision + EPS)


def _missed(values: np.ndarray, truth: np.ndarray, square: np.ndarray) -> float:
    """Sum of the eased errors inside the truth."""
    # Smoothing reaches no farther than the truth and a margin around it.
    left, top, width, height = cv2.boundingRect(truth.view(np.uint8))
    box = np.s_[max(top - REACH, 0) : top + height + REACH, max(left - REACH, 0) : left + width + REACH]
    error, inside = 1 - values[box], truth[box]
    spread = spread_outwards(error, inside, square[box], REACH)
    smooth = cv2.sepFilter2D(spread, cv2.CV_64F, KERNEL, KERNEL, borderType=cv2.BORDER_CONSTANT)
    return float(np.minimum(error, smooth)[inside].sum())
