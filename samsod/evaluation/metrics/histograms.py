"""What metrics take from histograms of a map's 256 grey levels, parted by the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

F_BETA_SQUARE = 0.3
EPS = float(np.spacing(1.0))  # MATLAB's eps, which the reference adds to denominators
NEAR = 1e-9
"""Below it a difference may be one of rounding, and the order in which the reference adds up decides."""


def normalised_levels(total: np.ndarray) -> np.ndarray:
    """What each of the 256 grey levels becomes when the map is normalised; levels it lacks are cut to [0, 1].

    Args:
        total: pixels by grey level, 256.
    """
    levels = np.arange(256) / 255
    low, high = levels[np.flatnonzero(total)[[0, -1]]]
    return levels if low == high else np.clip((levels - low) / (high - low), 0, 1)


def mean_level(total: np.ndarray, levels: np.ndarray, values: Callable[[], np.ndarray]) -> float:
    """Mean of a map, half of the adaptive threshold.

    Args:
        total: pixels by grey level.
        levels: normalised grey levels, of the same length.
        values: Gives the normalised map, asked for only where a level lies at the threshold, so that the reference's
            order of summation decides.
    """
    mean = float(total @ levels) / int(total.sum())
    if mean > 0 and (np.abs(levels - 2 * mean)[total > 0] < NEAR).any():
        mean = float(values().mean())
    return mean


def kept(histogram: np.ndarray, levels: np.ndarray, threshold: float) -> np.ndarray:
    """How many pixels of a class reach each threshold.

    Args:
        histogram: pixels of the class by grey level, 256.
        levels: normalised grey levels, 256.
        threshold: the adaptive threshold, in [0, 1].

    Returns:
        float64, 258: counts for the thresholds 0 to 255, the adaptive one and for what is above one half.
    """
    # The reference's curves truncate the normalised map to whole levels; its adaptive threshold does not.
    truncated = np.bincount((levels * 255).astype(np.uint8), weights=histogram, minlength=256)
    last = [histogram[levels >= threshold].sum(), histogram[levels > 0.5].sum()]
    return np.append(np.cumsum(truncated[::-1])[::-1], last)


def f_measure(tp: np.ndarray, fp: np.ndarray, positives: int) -> np.ndarray:
    """F = (1 + β²)·P·R / (β²·P + R) per threshold; 0 where nothing is hit.

    Source: Achanta et al., "Frequency-tuned salient region detection", CVPR 2009, eq. 12.
    """
    precision, recall = tp / np.maximum(tp + fp, 1), tp / max(positives, 1)
    numerator = (1 + F_BETA_SQUARE) * precision * recall
    return numerator / np.where(numerator == 0, 1, F_BETA_SQUARE * precision + recall)
