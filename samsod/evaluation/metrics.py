"""Salient object detection metrics with the figures of the field's reference, PySODMetrics 1.6, in NumPy alone.

One exception: where the truth's centroid falls into the last row or column, two of the S-measure's four regions
are empty and the reference returns nan; here an empty region counts with its weight, zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from samsod.evaluation.weighted_f import EPS, weighted_f_measure

F_BETA_SQUARE = 0.3
S_ALPHA = 0.5


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What one image adds to the metrics of a data set.

    The curves are float64 arrays of length 256; entry t is for the map that keeps predictions of at least t, on
    the scale from 0 to 255 after normalisation. All figures are higher for better, but for `mae`.
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


def score_image(prediction: np.ndarray, truth: np.ndarray, weighted_f: bool = True) -> ImageScores:
    """Scores one saliency map against its ground truth.

    The prediction is stretched to [0, 1] by its own minimum and maximum; a constant map is divided by 255.

    Args:
        prediction: uint8, H×W, 0 (background) to 255 (salient).
        truth: bool, or uint8 with values above 128 salient; H×W.
        weighted_f: whether to compute the weighted F-measure, by far the slowest of the metrics.

    Returns:
        The scores, picklable.

    Raises:
        ValueError: if an array is no non-empty two-dimensional array of these types, or their shapes differ.
    """
    prediction, truth = _checked(prediction, truth)
    levels = _normalised_levels(prediction)
    values = levels[prediction]
    inside = np.bincount(prediction[truth], minlength=256)
    outside = np.bincount(prediction.ravel(), minlength=256) - inside

    # The map itself is averaged, not its histogram: a level equal to the threshold is kept or not by the last bit.
    threshold = min(2 * float(values.mean()), 1.0)
    tp, fp = _kept(inside, levels, threshold), _kept(outside, levels, threshold)
    precision, recall, f = _f_measure(tp, fp, int(inside.sum()))
    e = _e_measure(tp, fp, int(inside.sum()), truth.size)
    return ImageScores(
        s=_s_measure(values, truth, levels, inside, outside),
        mae=float((outside * levels + inside * (1 - levels)).sum() / truth.size),
        wf=weighted_f_measure(values, truth) if weighted_f else None,
        adp_f=float(f[256]),
        adp_e=float(e[256]),
        f=f[:256],
        e=e[:256],
        precision=precision[:256],
        recall=recall[:256],
    )


class SaliencyMetrics:
    """Gathers the scores of a data set's images and averages them.

    Example:
        >>> metrics = SaliencyMetrics(weighted_f=False)
        >>> truth = np.eye(8, dtype=bool)
        >>> metrics.step(np.where(truth, 200, 30).astype(np.uint8), truth)
        >>> metrics.result()["maxF"]
        1.0
    """

    def __init__(self, weighted_f: bool = True) -> None:
        """Starts with no image.

        Args:
            weighted_f: whether `step` computes the weighted F-measure.
        """
        self.weighted_f = weighted_f
        self.images: list[ImageScores] = []

    def step(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Scores one image and adds it; arguments and errors are those of `score_image`."""
        self.images.append(score_image(prediction, truth, self.weighted_f))

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
        """The data set's figures: maxima and means of the mean curves, means of everything else.

        Returns:
            "S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "wF", "MAE" and the count "images"; "wF" is
            left out when it was not computed.

        Raises:
            ValueError: if no image was scored, or only some of them have a weighted F-measure.
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
        return result | {"MAE": _mean([image.mae for image in images]), "images": len(images)}


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


def _normalised_levels(prediction: np.ndarray) -> np.ndarray:
    """What each of the 256 grey levels becomes when the map is normalised; levels it lacks are cut to [0, 1]."""
    levels = np.arange(256) / 255
    low, high = levels[prediction.min()], levels[prediction.max()]
    return levels if low == high else np.clip((levels - low) / (high - low), 0, 1)


def _kept(histogram: np.ndarray, levels: np.ndarray, threshold: float) -> np.ndarray:
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


def _f_measure(tp: np.ndarray, fp: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    return aligned / (total - 1 + EPS)


def _enhanced(a: np.ndarray, b: float) -> np.ndarray:
    """Enhanced alignment ((2ab / (a² + b²) + 1) / 2)² of two deviations from the mean."""
    return (2 * a * b / (a**2 + b**2 + EPS) + 1) ** 2 / 4


def _s_measure(
    values: np.ndarray, truth: np.ndarray, levels: np.ndarray, inside: np.ndarray, outside: np.ndarray
) -> float:
    """S-measure, α·S_object + (1 - α)·S_region.

    Source: Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017, eq. 1 to 9.

    Args:
        values: normalised prediction, H×W.
        truth: bool, H×W.
        levels: normalised grey levels, 256.
        inside: pixels of the truth by grey level, 256.
        outside: pixels of the background by grey level, 256.
    """
    share = int(inside.sum()) / truth.size
    if share == 0:
        return 1 - float(values.mean())
    if share == 1:
        return float(values.mean())
    similarity = share * _object_score(levels, inside) + (1 - share) * _object_score(1 - levels, outside)
    return max(0.0, S_ALPHA * similarity + (1 - S_ALPHA) * _region_score(values, truth))


def _object_score(levels: np.ndarray, histogram: np.ndarray) -> float:
    """2·mean / (mean² + 1 + standard deviation) over the pixels of one class."""
    count = int(histogram.sum())
    mean = float((histogram * levels).sum()) / count
    deviation = math.sqrt(float((histogram * (levels - mean) ** 2).sum()) / max(count - 1, 1))
    return 2 * mean / (mean**2 + 1 + deviation + EPS)


def _region_score(values: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of the four regions around the truth's centroid, weighted by their areas."""
    rows, columns = (_split(truth.sum(axis=axis)) for axis in (1, 0))
    score = 0.0
    for region in ((row, column) for row in rows for column in columns):
        if truth[region].size:
            score += _similarity(values[region], truth[region]) * truth[region].size / truth.size
    return score


def _split(counts: np.ndarray) -> tuple[slice, slice]:
    """Cuts an axis right after the centroid of the truth's pixel counts along it."""
    cut = round(int(counts @ np.arange(counts.size)) / int(counts.sum())) + 1
    return slice(0, cut), slice(cut, counts.size)


def _similarity(values: np.ndarray, truth: np.ndarray) -> float:
    """SSIM without its constants, as in the S-measure; 1 where both regions are constant, or both are black."""
    # The mean must add up in the reference's order: whether a constant region deviates from it by nothing or by
    # one last bit decides between a score of 1 and of 0.
    x, y = float(values.mean()), float(truth.mean())
    dx, dy = values - x, truth - y
    scale = truth.size - 1 + EPS
    covariance = float((dx * dy).sum()) / scale
    variances = (float((dx**2).sum()) + float((dy**2).sum())) / scale
    alpha, beta = 4 * x * y * covariance, (x**2 + y**2) * variances
    if alpha != 0:
        return alpha / (beta + EPS)
    return 1.0 if beta == 0 else 0.0
