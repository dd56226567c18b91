"""How well an object blends with what surrounds it: it is put together anew from patches of the surroundings."""

from __future__ import annotations

import math

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.further.colour import ciede2000, lab

PATCH, STEP = 7, 3
"""Pixels a side, and from one patch to the next."""
SURROUNDINGS = 20
"""Pixels around the object, of the square it is dilated with."""
NEARNESS = 20.0
"""Weight of a patch's place beside its colours."""
STEEPNESS = 8
BLOCK = 2**22
"""Distances held at a time."""


def camouflage_degree(photo: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per pixel of the object how close its colour is to that of the most similar patches around it.

    Args:
        photo: uint8, H×W×3, red first.
        truth: bool, H×W.

    Returns:
        float64, H×W, 0 to 1; 0 outside the object, and everywhere when no patch fits into it or its surroundings.
    """
    mask = truth.view(np.uint8)
    around = cv2.dilate(mask, np.ones((SURROUNDINGS, SURROUNDINGS), np.uint8)) - mask
    inner, outer = _places(truth), _places(around > 0)
    degree = np.zeros(truth.shape)
    if len(inner) and len(outer):
        nearest = outer[_most_similar(_features(photo, outer, inner), len(outer))]
        rebuilt = _rebuilt(photo, inner, nearest)
        difference = ciede2000(lab(rebuilt[truth]), lab(photo[truth]))
        similarity = 1 - np.clip(difference / 100, 0, 1)
        degree[truth] = (np.exp(STEEPNESS * similarity) - 1) / (math.exp(STEEPNESS) - 1)
    return degree


def _places(mask: np.ndarray) -> np.ndarray:
    """Upper left corners of the patches, on a grid, that lie in a mask: int64, n×2."""
    height, width = (length - PATCH + 1 for length in mask.shape)
    if height < 1 or width < 1:
        return np.empty((0, 2), np.int64)
    whole = np.lib.stride_tricks.sliding_window_view(mask, (PATCH, PATCH))[::STEP, ::STEP].all(axis=(2, 3))
    return np.argwhere(whole) * STEP


def _features(photo: np.ndarray, outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Colours (CIE Lab in 8 bits) and standardised places of the outer patches, then of the inner ones: float32."""
    places = np.concatenate([outer, inner])
    windows = np.lib.stride_tricks.sliding_window_view(cv2.cvtColor(photo, cv2.COLOR_RGB2LAB), (PATCH, PATCH, 3))
    colours = windows[places[:, 0], places[:, 1], 0].reshape(len(places), -1)
    deviations = places.std(axis=0)
    standard = (places - places.mean(axis=0)) / np.where(deviations == 0, 1, deviations)
    return np.hstack([colours, NEARNESS * standard]).astype(np.float32)


def _most_similar(features: np.ndarray, outer: int) -> np.ndarray:
    """For each inner patch the number of the outer one at the smallest Euclidean distance."""
    known, wanted = features[:outer].astype(np.float64), features[outer:]
    lengths = (known**2).sum(axis=1)
    step = max(1, BLOCK // outer)
    blocks = (wanted[i : i + step].astype(np.float64) for i in range(0, len(wanted), step))
    return np.concatenate([(lengths - 2 * block @ known.T).argmin(axis=1) for block in blocks])


def _rebuilt(photo: np.ndarray, inner: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The object from the patches found for it, averaged where they overlap: uint8, H×W×3; 0 where there is none."""
    total = np.zeros(photo.shape, np.int64)
    count = np.zeros(photo.shape[:2], np.int64)
    for (row, column), (from_row, from_column) in zip(inner.tolist(), nearest.tolist(), strict=True):
        patch = photo[from_row : from_row + PATCH, from_column : from_column + PATCH]
        total[row : row + PATCH, column : column + PATCH] += patch
        count[row : row + PATCH, column : column + PATCH] += 1
    return np.round(total / np.maximum(count, 1)[..., None]).astype(np.uint8)
