"""Size-invariant MAE and F-measure: every salient object counts the same, however large it is.

Source: Li et al., "Size-invariance Matters: Rethinking Metrics and Losses for Imbalanced Multi-object Salient Object
Detection", ICML 2024, as PySODMetrics computes them. Where the reference has no value, these do: with objects whose
boxes leave no background, that part of the MAE counts nothing (there nan), and an all-white truth is one object (there
an error). Beyond 53 objects the reference's codes of them can overflow; here there is no limit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.histograms import f_measure, kept, mean_level
from samsod.evaluation.metrics.metric import Metric
from samsod.evaluation.metrics.subject import ADAPTIVE, CURVE, HALF, Subject
from samsod.registry import METRICS

LEAST_AREA = 50
"""Smaller objects are left out, unless all are: then the largest count."""

Box = tuple[slice, slice]


@METRICS.register("SI-MAE")
class SizeInvariantMae(Metric):
    """Mean over the objects' boxes and the background, which weighs as its area over the boxes', of the mean error."""

    columns = ("SI-MAE",)
    smaller = True

    def score(self, subject: Subject) -> np.ndarray:
        """The error of one image; the plain MAE without an object."""
        boxes = _boxes(subject.truth)
        inside, outside = subject.levels, 1 - subject.levels
        error = np.where(subject.truth, outside[subject.prediction], inside[subject.prediction])
        if not boxes:
            return np.array([error.mean()])
        background = np.ones(subject.truth.shape, bool)
        for box in boxes:
            background[box] = False
        area = np.count_nonzero(background)
        share = area / (subject.pixels - area)
        parts = sum(error[box].mean() for box in boxes)
        if area:
            parts += share * error[background].mean()
        return np.array([parts / (len(boxes) + share)])


@METRICS.register("SI-F")
class SizeInvariantF(Metric):
    """F-measure (β² = 0.3) of every object's box, the map being 0 outside it; mean over objects, then over images.

    The maximum and the mean over thresholds are taken for each object.
    """

    columns = ("maxSI-F", "meanSI-F", "adpSI-F", "binSI-F")
    size = 4

    def score(self, subject: Subject) -> np.ndarray:
        """The columns of one image; 0 without an object."""
        curves = [_f_in_box(subject, box) for box in _boxes(subject.truth)] or [np.zeros(CURVE + 2)]
        means = [(f[:CURVE].max(), f[:CURVE].mean(), f[ADAPTIVE], f[HALF]) for f in curves]
        return np.mean(means, axis=0)


def _boxes(truth: np.ndarray) -> list[Box]:
    """The boxes around the objects, which touch by their pixels' sides."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(truth.view(np.uint8), connectivity=4)
    objects = stats[1:]
    areas = objects[:, cv2.CC_STAT_AREA]
    chosen = objects[areas >= min(LEAST_AREA, areas.max(initial=0))]
    return list(_slices(chosen))


def _slices(stats: np.ndarray) -> Iterator[Box]:
    for left, top, width, height, _ in stats.tolist():
        yield slice(top, top + height), slice(left, left + width)


def _f_in_box(subject: Subject, box: Box) -> np.ndarray:
    """F-measure at the 256 thresholds, the adaptive one and one half, of a map that is 0 outside a box."""
    truth, prediction = subject.truth[box], subject.prediction[box]
    levels = np.append(subject.levels, 0.0)  # the last one stands for what is outside
    inside = np.append(np.bincount(prediction[truth], minlength=256), 0)
    total = np.append(np.bincount(prediction.ravel(), minlength=256), subject.pixels - truth.size)

    def values() -> np.ndarray:
        whole = np.zeros(subject.truth.shape)
        whole[box] = subject.values[box]
        return whole

    threshold = min(2 * mean_level(total, levels, values), 1.0)
    tp, fp = (kept(histogram, levels, threshold) for histogram in (inside, total - inside))
    return f_measure(tp, fp, int(inside.sum()))
