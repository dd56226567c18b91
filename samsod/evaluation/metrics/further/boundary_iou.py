"""Boundary IoU: intersection over union of what lies close to the two contours."""

from __future__ import annotations

import math

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.metric import CurveMetric, ratio
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS

WIDTH = 0.02
"""How far a boundary region reaches inwards, as a share of the image's diagonal."""


@METRICS.register("BIoU")
class BoundaryIoU(CurveMetric, name="BIoU"):
    """IoU of the boundary regions: the pixels of a mask at most d pixels from outside it, in rows and columns.

    d is 2 % of the image's diagonal, rounded, and at least 1; beyond the image's border counts as outside. 0 where
    neither mask has a boundary. PySODMetrics has no such metric.
    Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021, eq. 2.
    """

    def score(self, subject: Subject) -> np.ndarray:
        """All thresholds at once: a mask's erosion is the eroded grey map cut at the same threshold."""
        distance = max(1, round(WIDTH * math.hypot(*subject.truth.shape)))
        edge = subject.truth.copy()
        edge[_inner(distance)] &= _eroded(subject.truth.view(np.uint8), distance) == 0
        eroded = _eroded(subject.prediction, distance)
        both = _boundary(subject, subject.prediction[edge], eroded[edge[_inner(distance)]])
        found = _boundary(subject, subject.prediction, eroded)
        return ratio(both, np.count_nonzero(edge) + found - both)


def _inner(distance: int) -> tuple[slice, slice]:
    """Without the frame that no erosion reaches, the border being outside."""
    return (slice(distance, -distance), slice(distance, -distance))


def _eroded(image: np.ndarray, distance: int) -> np.ndarray:
    """The smallest value within so many rows and columns, of the inner pixels."""
    return cv2.erode(image, np.ones((3, 3), np.uint8), iterations=distance)[_inner(distance)]


def _boundary(subject: Subject, whole: np.ndarray, eroded: np.ndarray) -> np.ndarray:
    """How many pixels of a mask its erosion lacks, at every threshold.

    Args:
        subject: What is scored.
        whole: Grey levels of the pixels in question.
        eroded: Those of the eroded map, of the inner ones among them.
    """
    counts = (np.bincount(levels.ravel(), minlength=256) for levels in (whole, eroded))
    before, after = (subject.kept(histogram) for histogram in counts)
    return before - after
