"""The weighted F-measure, which takes longest of the standard metrics."""

from __future__ import annotations

import math

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.distance import BAND, FAR, row_bands, spread_outwards, squared_distance
from samsod.evaluation.metrics.histograms import EPS
from samsod.evaluation.metrics.metric import Metric
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS

REACH = 3
"""The Gaussian's window of 7 by 7 goes so many pixels beyond its centre."""
SMOOTHED = 2**16
"""Pixels smoothed at a time, more than elsewhere: those next to a band are smoothed with it."""
KERNEL = np.exp(-(np.arange(-REACH, REACH + 1) ** 2) / 50.0)
KERNEL /= KERNEL.sum()

# A false alarm weighs 2 minus this, by its squared distance; beyond FAR it is below 1e-12. The truth itself has none.
_CLOSENESS = np.exp(math.log(0.5) / 5 * np.sqrt(np.arange(2**16)))
_CLOSENESS[0] = 0

Box = tuple[slice, slice]


@METRICS.register("wF")
class WeightedF(Metric):
    """Weighted F-measure, β² = 1; 0 for an all-black truth.

    Errors inside the truth are eased by those of their neighbours, errors outside weigh up to twice as much with
    the distance to the truth.
    Source: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014, eq. 5 to 10, and its published code.
    """

    columns = ("wF",)

    def score(self, subject: Subject) -> np.ndarray:
        """The measure of one image."""
        return np.array([_weighted_f(subject) if subject.positives else 0.0])


def _weighted_f(subject: Subject) -> float:
    prediction, truth = subject.prediction, subject.truth
    levels, positives = subject.levels, subject.positives
    low, high = np.count_nonzero(levels == 0) - 1, int(levels.argmax())
    raised = prediction - np.uint8(low)  # the normalised map times high - low
    core = _bounds(truth)
    window = _where_distance_matters(core, _bounds(raised), truth.shape)
    prediction, raised, truth = prediction[window], raised[window], truth[window]
    square, close = np.zeros(truth.shape, np.uint16), 0.0
    if positives < truth.size:
        square = squared_distance(truth)
        for band in row_bands(*truth.shape, pixels=BAND):
            close += float(np.vdot(raised[band].astype(np.float64), _CLOSENESS.take(square[band])))
    top, left = (max(at.start - start.start - REACH, 0) for at, start in zip(core, window, strict=True))
    bottom, right = (at.stop - start.start + REACH for at, start in zip(core, window, strict=True))
    box = np.s_[top:bottom, left:right]
    missed = _missed(cv2.LUT(prediction[box], 1 - levels), truth[box], square[box])
    return from_errors(positives, missed, 2 * float(subject.outside @ levels) - close / (high - low))


def _bounds(image: np.ndarray) -> Box:
    """The smallest rows and columns that hold every pixel that is not 0, bool or uint8; none where there is none."""
    left, top, width, height = cv2.boundingRect(image.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _where_distance_matters(truth: Box, alarms: Box, shape: tuple[int, ...]) -> Box:
    """The truth with what smoothing needs around it, and those false alarms that are not far from it."""
    spans = []
    for core, alarm, length in zip(truth, alarms, shape, strict=True):
        first, last = (alarm.start, alarm.stop) if alarm.stop else (core.start, core.stop)
        start = min(max(first, core.start - FAR), core.start - REACH)
        stop = max(min(last, core.stop + FAR), core.stop + REACH)
        spans.append(slice(max(start, 0), min(stop, length)))
    return spans[0], spans[1]


def from_errors(positives: int, missed: float, false_alarms: float) -> float:
    """Weighted F-measure of the eased errors inside the truth and the weighted ones outside, each summed up."""
    hits = positives - missed
    recall, precision = 1 - missed / positives, hits / (hits + false_alarms + EPS)
    return 2 * recall * precision / (recall + precision + EPS)


def _missed(error: np.ndarray, truth: np.ndarray, square: np.ndarray) -> float:
    """Sum of the eased errors inside the truth; `error` is overwritten."""
    spread_outwards(error, truth, square, REACH)
    total = 0.0
    for band in row_bands(*error.shape, pixels=SMOOTHED):
        first = max(band.start - REACH, 0)
        rows = error[first : band.stop + REACH]
        smooth = cv2.sepFilter2D(rows, cv2.CV_64F, KERNEL, KERNEL, borderType=cv2.BORDER_CONSTANT)
        smooth = smooth[band.start - first :][: band.stop - band.start]
        total += float(np.minimum(error[band], smooth, out=smooth)[truth[band]].sum())
    return total
