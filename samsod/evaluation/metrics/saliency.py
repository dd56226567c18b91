"""Scores of saliency maps, with the values of the field's reference, PySODMetrics, and their means over data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from samsod.config.data_schema import OVERALL
from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.choice import further_metric
from samsod.evaluation.metrics.histograms import ImageScores, centroid_cut, normalised_levels, score_histograms
from samsod.evaluation.metrics.subject import Subject
from samsod.evaluation.metrics.weighted_f import weighted_f_measure

__all__ = ["ImageScores", "Results", "SaliencyMetrics", "overall", "score_image", "with_overall"]

Results = dict[str, dict[str, dict[str, float]]]
"""Method, or name of a model's map -> data set -> metric."""


def score_image(
    prediction: np.ndarray,
    truth: np.ndarray,
    weighted_f: bool = True,
    further: Sequence[str] = (),
    photo: Callable[[], np.ndarray] | None = None,
) -> ImageScores:
    """Scores one saliency map against its ground truth.

    The prediction is stretched to [0, 1] by its own minimum and maximum; a constant map is divided by 255.

    Args:
        prediction: uint8, H×W, 0 (background) to 255 (salient).
        truth: bool, or uint8 with values above 128 salient; H×W.
        weighted_f: whether to compute the weighted F-measure, by far the slowest of the standard metrics.
        further: names of further metrics, see `chosen_metrics`.
        photo: gives the image itself, uint8 H×W×3, red first, to the metrics that look at it.

    Returns:
        The scores, picklable.

    Raises:
        ValueError: if an array is no non-empty two-dimensional array of these types, or their shapes differ, or the
            image is asked for and not there.
        UserError: if no metric has such a name.
    """
    prediction, truth = _checked(prediction, truth)
    counts, cut = count_levels(prediction, truth)
    levels = normalised_levels(counts.sum(axis=(0, 1, 2)))
    wf = weighted_f_measure(prediction, truth, counts.sum(axis=(0, 1))) if weighted_f else None
    scores = score_histograms(counts, cut, lambda: levels[prediction], wf)
    if not further:
        return scores
    subject = Subject(prediction, truth, counts.sum(axis=(0, 1)), photo)
    return replace(scores, further={name: further_metric(name).score(subject) for name in further})


class SaliencyMetrics:
    """Gathers the scores of a data set's images and averages them.

    Example:
        >>> metrics = SaliencyMetrics(weighted_f=False)
        >>> truth = np.eye(8, dtype=bool)
        >>> metrics.step(np.where(truth, 200, 30).astype(np.uint8), truth)
        >>> metrics.result()["maxF"]
        1.0
    """

    def __init__(self, weighted_f: bool = True, further: Sequence[str] = ()) -> None:
        """Starts with no image.

        Args:
            weighted_f: whether `step` computes the weighted F-measure.
            further: names of the further metrics that it computes, see `chosen_metrics`.
        """
        self.weighted_f, self.further = weighted_f, further
        self.images: list[ImageScores] = []

    def step(self, prediction: np.ndarray, truth: np.ndarray, photo: Callable[[], np.ndarray] | None = None) -> None:
        """Scores one image and adds it; arguments and errors are those of `score_image`."""
        self.images.append(score_image(prediction, truth, self.weighted_f, self.further, photo))

    def extend(self, scores: Iterable[ImageScores]) -> None:
        """Adds images scored elsewhere, by another process for example."""
        self.images.extend(scores)

    def curves(self) -> dict[str, np.ndarray]:
        """Mean curves over the images.

        Returns:
            "precision", "recall", "f" and "e": float64 arrays of length 256, entry t for threshold t of 255.

        Raises:
            ValueError: if no image was scored.
        """
        if not self.images:
            raise ValueError("no image was scored: call step() or extend() first")
        names = ("precision", "recall", "f", "e")
        return {name: np.mean([getattr(image, name) for image in self.images], axis=0) for name in names}

    def result(self) -> dict[str, float]:
        """The data set's values: maxima and means of the mean curves, means of everything else.

        Returns:
            "S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "wF", "MAE", the columns of further metrics and the
            count "images"; "wF" is left out when it was not computed.

        Raises:
            ValueError: if no image was scored, or only some of them have a weighted F-measure or a further metric.
        """
        curves, images = self.curves(), self.images
        result = {"S": _mean([image.s for image in images])}
        for name, adaptive in (("F", [i.adp_f for i in images]), ("E", [i.adp_e for i in images])):
            curve = curves[name.lower()]
            result[f"max{name}"] = float(curve.max())
            result[f"mean{name}"] = float(curve.mean())
            result[f"adp{name}"] = _mean(adaptive)
        weighted = [image.wf for image in images if image.wf is not None]
        if 0 < len(weighted) < len(images):
            raise ValueError(f"the weighted F-measure is known for {len(weighted)} of {len(images)} images only")
        if weighted:
            result["wF"] = _mean(weighted)
        result["MAE"] = _mean([image.mae for image in images])
        return result | self._further_columns() | {"images": len(images)}

    def _further_columns(self) -> dict[str, float]:
        names = self.images[0].further
        if any(image.further.keys() != names.keys() for image in self.images):
            raise ValueError("the images were scored with different metrics")
        columns: dict[str, float] = {}
        for name in names:
            metric = further_metric(name)
            values = metric.summary(np.mean([image.further[name] for image in self.images], axis=0))
            columns |= {column: float(value) for column, value in zip(metric.columns, values, strict=True)}
        return columns


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


def _mean(numbers: list[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def _checked(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and boolean truth, contiguous: sums, and with them the last bits, follow the memory's order."""
    if prediction.dtype != np.uint8 or prediction.ndim != 2:
        raise ValueError(
            f"prediction must be a two-dimensional uint8 array, got {prediction.dtype} of shape {prediction.shape}"
        )
    if truth.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"truth must be bool or uint8, got {truth.dtype}")
    if truth.shape != prediction.shape:
        raise ValueError(f"prediction and truth differ in shape: {prediction.shape} and {truth.shape}")
    if not prediction.size:
        raise ValueError(f"prediction and truth are empty: shape {prediction.shape}")
    truth = truth if truth.dtype == np.bool_ else truth > 128
    return np.ascontiguousarray(prediction), np.ascontiguousarray(truth)


def count_levels(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixel counts and the cut that `score_histograms` takes, of uint8 and bool, H×W."""
    mask = truth.view(np.uint8)
    rows, columns = (cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for axis in (1, 0))
    cut = centroid_cut(int(rows @ np.arange(rows.size)), int(columns @ np.arange(columns.size)), int(rows.sum()))
    counts = np.zeros((2, 2, 2, 256), np.int64)
    for row, rows_half in enumerate((slice(cut[0]), slice(cut[0], None))):
        for column, columns_half in enumerate((slice(cut[1]), slice(cut[1], None))):
            part = prediction[rows_half, columns_half]
            counts[row, column, 1] = _histogram(part, mask[rows_half, columns_half])
            counts[row, column, 0] = _histogram(part) - counts[row, column, 1]
    return counts, cut


def _histogram(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Pixels of each grey level, 256; those under the mask alone."""
    if not image.size:
        return np.zeros(256, np.int64)
    if image.size < 2**24:  # OpenCV counts faster than NumPy, but hands out float32
        return cv2.calcHist([image], [0], mask, [256], [0, 256]).ravel().astype(np.int64)
    return np.bincount(image.ravel() if mask is None else image[mask.view(np.bool_)], minlength=256)
