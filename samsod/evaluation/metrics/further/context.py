"""Context-measure and camouflage context-measure: how well map and truth explain each other within a neighbourhood.

Source: Wang et al., "Context-measure: Contextualizing Metric for Camouflage", arXiv 2512.07076, as PySODMetrics
computes it. One exception: of a truth on a slanted line the reference inverts a singular matrix; here the line counts
as one pixel wide.
"""

from __future__ import annotations

import math

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.further.camouflage import camouflage_degree
from samsod.evaluation.metrics.histograms import EPS
from samsod.evaluation.metrics.metric import Metric
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS

REACH = 6.0
"""Standard deviation of the neighbourhood's Gaussian in pixels, over both axes together."""
SINGULAR = 1e-9
"""Of a smaller share of the variances' product the covariance matrix counts as that of a line."""


@METRICS.register("CM")
class ContextMeasure(Metric):
    """F-measure (β² = 1) of forward inference, the truth around what is predicted, and reverse deduction."""

    columns = ("CM",)

    def score(self, subject: Subject) -> np.ndarray:
        """The measure of one image."""
        return np.array([_measure(subject, np.zeros(()), 1.0)])


@METRICS.register("CCM")
class CamouflageContextMeasure(Metric):
    """The same with β² = 1.2, reverse deduction weighted by how well the object blends with what surrounds it."""

    columns = ("CCM",)
    needs_photo = True

    def score(self, subject: Subject) -> np.ndarray:
        """The measure of one image.

        Raises:
            ValueError: The image itself is not there, or not of the truth's size.
        """
        if subject.photo is None:
            raise ValueError("the camouflage context-measure needs the image")
        photo = subject.photo()
        if photo.shape != (*subject.truth.shape, 3):
            raise ValueError(f"the image's shape is {photo.shape}, the truth's {subject.truth.shape}")
        return np.array([_measure(subject, camouflage_degree(photo, subject.truth), 1.2)])


def _measure(subject: Subject, degree: np.ndarray, beta_square: float) -> float:
    prediction, truth = subject.values, subject.truth.astype(np.float64)
    kernel = _kernel(subject.truth)
    relevance = cv2.filter2D(truth.astype(np.float32), cv2.CV_32F, kernel)
    forward = float((relevance * prediction).sum() / (prediction.sum() + EPS))
    completeness = 1 - np.exp(-cv2.filter2D(prediction, -1, kernel))
    reverse = math.e / (math.e - 1) * truth * completeness
    reverse = float((reverse * (truth + degree)).sum() / (truth.sum() + degree.sum() + EPS))
    return (1 + beta_square) * forward * reverse / (beta_square * forward + reverse + EPS)


def _kernel(truth: np.ndarray) -> np.ndarray:
    """The Gaussian with the truth's own shape, its variances adding up to `REACH`², cut at three deviations."""
    points = np.argwhere(truth)
    if len(points) > 1:
        covariance = np.cov(points, rowvar=False)
        covariance[np.diag_indices(2)] = np.where(np.diag(covariance) == 0, EPS, np.diag(covariance))
        if np.linalg.det(covariance) < SINGULAR * covariance[0, 0] * covariance[1, 1]:
            covariance += np.eye(2) / 12
        covariance *= REACH**2 / np.trace(covariance)
        rows, columns = (round(3 * deviation) for deviation in np.sqrt(np.diag(covariance)))
    else:
        covariance, rows, columns = np.diag([0.25, 0.25]), 1, 1
    offsets = np.moveaxis(np.mgrid[-rows : rows + 1, -columns : columns + 1], 0, -1)
    distances = np.einsum("...i,ij,...j->...", offsets, np.linalg.inv(covariance), offsets)
    kernel = np.exp(-0.5 * distances)
    return kernel / kernel.sum()
