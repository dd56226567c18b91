"""Scores of saliency maps, with the values of the field's reference, PySODMetrics, and their means over data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from samsod.config.data_schema import OVERALL
from samsod.evaluation.metrics.choice import STANDARD, ImageScores, columns_of, find_metric
from samsod.evaluation.metrics.subject import Subject

__all__ = ["ImageScores", "Results", "SaliencyMetrics", "mean_scores", "overall", "score_image", "with_overall"]

Results = dict[str, dict[str, dict[str, float]]]
"""Method, or name of a model's map -> data set -> metric."""


def score_image(
    prediction: np.ndarray,
    truth: np.ndarray,
    metrics: Sequence[str] = STANDARD,
    photo: Callable[[], np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Scores one saliency map against its ground truth.

    Args:
        prediction: uint8, H×W, 0 (background) to 255 (salient); see `Subject`.
        truth: bool, or uint8 with values above 128 salient; H×W.
        metrics: names of metrics, see `chosen_metrics`.
        photo: gives the image itself, uint8 H×W×3, red first, to the metrics that look at it.

    Returns:
        By metric what it gives, see `Metric.score`.

    Raises:
        ValueError: if there is nothing to score, see `Subject`, or the image is asked for and not there.
        UserError: if no metric has such a name.
    """
    subject = Subject(prediction, truth, photo)
    return {name: find_metric(name).score(subject) for name in metrics}


def mean_scores(images: Iterable[ImageScores]) -> dict[str, np.ndarray]:
    """The mean of images' scores, whatever their order.

    Raises:
        ValueError: if no image was scored, or they were scored with different metrics.
    """
    images = list(images)
    if not images:
        raise ValueError("no image was scored: call step() or extend() first")
    if any(image.keys() != images[0].keys() for image in images):
        raise ValueError("the images were scored with different metrics")
    entries = {name: np.transpose([image[name] for image in images]).tolist() for name in images[0]}
    return {name: np.array([math.fsum(values) / len(images) for values in rows]) for name, rows in entries.items()}


class SaliencyMetrics:
    """Gathers the scores of a data set's images and averages them.

    Example:
        >>> metrics = SaliencyMetrics(["F"])
        >>> truth = np.eye(8, dtype=bool)
        >>> metrics.step(np.where(truth, 200, 30).astype(np.uint8), truth)
        >>> metrics.result()["maxF"]
        1.0
    """

    def __init__(self, metrics: Sequence[str] = STANDARD, images: Iterable[ImageScores] = ()) -> None:
        """Starts with these images.

        Args:
            metrics: names of the metrics that `step` computes, see `chosen_metrics`.
            images: scored elsewhere, see `extend`.
        """
        self.metrics = metrics
        self.images: list[ImageScores] = list(images)

    def step(self, prediction: np.ndarray, truth: np.ndarray, photo: Callable[[], np.ndarray] | None = None) -> None:
        """Scores one image and adds it; arguments and errors are those of `score_image`."""
        self.images.append(score_image(prediction, truth, self.metrics, photo))

    def extend(self, scores: Iterable[ImageScores]) -> None:
        """Adds images scored elsewhere, by another process for example."""
        self.images.extend(scores)

    def result(self) -> dict[str, float]:
        """The data set's values: maxima and means of the mean curves, means of everything else.

        Returns:
            The metrics' columns and the count "images".

        Raises:
            ValueError: see `mean_scores`.
        """
        columns = columns_of(mean_scores(self.images))
        return {name: float(value) for name, value in columns.items()} | {"images": len(self.images)}


def overall(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Averages the results of several data sets, each weighted by its number of images.

    Args:
        results: data set name to the dictionary `SaliencyMetrics.result` returned for it.

    Returns:
        The mean of every metric; "images" is the sum.

    Raises:
        ValueError: if there is no data set, or they do not all have the same metrics.
    """
    if not results:
        raise ValueError("no data set to average over")
    first, *others = results
    for name in others:
        if different := sorted(results[first].keys() ^ results[name].keys()):
            raise ValueError(f"{first!r} and {name!r} differ in their metrics: only one has {', '.join(different)}")
    count = sum(result["images"] for result in results.values())
    return {
        metric: math.fsum(result[metric] * result["images"] for result in results.values()) / count
        for metric in results[first]
    } | {"images": count}


def with_overall(results: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The results of data sets and, when they are several, their mean, called `OVERALL`; see `overall`."""
    return {**results, OVERALL: overall(results)} if len(results) > 1 else results
