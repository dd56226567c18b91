"""Human correction efforts: how many clicks it takes to mend a map by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.further.thinning import thinned
from samsod.evaluation.metrics.metric import Metric
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS

RELAX = 5
"""Pixels along contours that nobody would mend."""
TOLERANCE = 2.0
"""Pixels a polygon may be off the contour it stands for."""
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


@METRICS.register("HCE")
class HumanCorrectionEfforts(Metric):
    """Control points of the wrong contours, plus the regions that are wrong as a whole, of the map cut at one half.

    Source: Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022, sec. 5, as PySODMetrics computes
    it.
    """

    columns = ("HCE",)
    smaller = True

    def score(self, subject: Subject) -> np.ndarray:
        """The clicks for one image."""
        truth, found = subject.truth, subject.half
        skeleton = thinned(truth)
        hit = truth & found
        core = cv2.erode((truth | found).view(np.uint8), _CROSS, iterations=RELAX).view(bool)
        extra = _regrown(found & ~truth, core, ~truth)
        missed = _regrown(truth & ~found, core, ~found) | (skeleton & ~found)
        efforts = _clicks(extra, hit | missed) + _clicks(missed, ~(hit | extra | missed))
        return np.array([float(efforts)])


def _regrown(wrong: np.ndarray, core: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The wrong pixels in the core, grown back over the wrong pixels around them."""
    grown = wrong & core
    for _ in range(RELAX):
        grown = cv2.dilate(grown.view(np.uint8), _CROSS).view(bool) & room
    return wrong & grown


def _clicks(wrong: np.ndarray, beside: np.ndarray) -> int:
    """Control points of the wrong region's contours along `beside`, plus its parts that touch that nowhere."""
    mask = wrong.view(np.uint8)
    near = cv2.dilate(beside.view(np.uint8), _CROSS).view(bool)
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0
    points = np.concatenate(contours)[:, 0]
    counted = _first_visits(points, near)
    touched = labels[points[counted, 1], points[counted, 0]]
    ends = np.cumsum([len(contour) for contour in contours])
    parts = zip(np.split(points, ends[:-1]), np.split(counted, ends[:-1]), strict=True)
    runs = (run for contour, use in parts for run in _runs(contour, use))
    clicks = sum(len(cv2.approxPolyDP(np.ascontiguousarray(run[:, None]), TOLERANCE, False)) for run in runs)
    return clicks + count - 1 - np.unique(touched).size


def _first_visits(points: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Which of the contours' points count: those in `near`, each pixel once."""
    flat = points[:, 1].astype(np.int64) * near.shape[1] + points[:, 0]
    candidates = np.flatnonzero(near.ravel()[flat])
    _, first = np.unique(flat[candidates], return_index=True)
    counted = np.zeros(len(points), bool)
    counted[candidates[first]] = True
    return counted


def _runs(contour: np.ndarray, counted: np.ndarray) -> Iterator[np.ndarray]:
    """The stretches of a contour that count; the first is joined to the last, backwards, where these meet."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], counted, [False]])))
    runs = [contour[start:end] for start, end in changes.reshape(-1, 2)]
    if len(runs) > 1 and _touch(runs[0][0], runs[-1][-1]):
        runs = [*runs[1:-1], np.concatenate([runs[-1], runs[0][::-1]])]
    yield from runs


def _touch(first: Sequence[int] | np.ndarray, last: Sequence[int] | np.ndarray) -> bool:
    return int(np.abs(np.subtract(first, last)).max()) == 1
