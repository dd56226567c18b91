"""Multi-scale IoU of the contours.

A pixel's 256 answers, whether it lies on a contour at each threshold, are the bits of four words, so that a handful of
operations on words finds the contours at all thresholds. A fifth word holds the adaptive threshold and one half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from samsod.evaluation.metrics.metric import CurveMetric
from samsod.evaluation.metrics.subject import CURVE, Subject
from samsod.registry import METRICS

SCALES = 10
"""Cells of 1, 2, 4, ... 512 pixels a side."""
WORD = 64
BAND = 32
"""Rows at a time: what is held beside the image stays small."""
LARGEST_HALF = 65504
"""The largest number of 16 bits in floating point."""


@METRICS.register("MSIoU")
class MultiscaleIoU(CurveMetric, name="MSIoU"):
    """How many of the truth's contour cells hold the map's contour too: the area under that share over ten cell sizes.

    As in PySODMetrics, the curve has a 257th threshold that keeps nothing, and the number of the truth's cells is
    rounded to 11 bits; beyond `LARGEST_HALF` cells, where that overflows there, it is exact here.
    Source: Ahmadzadeh et al., "Multiscale IOU: A Metric for Evaluation of Salient Object Detection with Fine
    Structures", ICIP 2021.
    """

    size = CURVE + 3

    def score(self, subject: Subject) -> np.ndarray:
        """The area at the thresholds 0 to 256, the adaptive one and one half."""
        truth = [cells != 0 for cells in _pyramid(_contours(subject.truth.astype(np.uint64)))]
        hits = np.empty((SCALES, CURVE + 2))
        for word, table in enumerate(_tables(subject)):
            scales = _pyramid(_contours(table[subject.prediction]))
            for scale, (mine, cells) in enumerate(zip(truth, scales, strict=True)):
                hits[scale, word * WORD : (word + 1) * WORD] = _counts(cells[mine])[: CURVE + 2 - word * WORD]
        nothing = np.zeros((SCALES, 1))
        hits = np.concatenate([hits[:, :CURVE], nothing, hits[:, CURVE:]], axis=1)
        shares = (hits + 1) / np.array([_rounded(int(np.count_nonzero(mine))) for mine in truth])[:, None]
        return (shares[1:] + shares[:-1]).sum(axis=0) / 2 / (SCALES - 1)


def _rounded(cells: int) -> float:
    """How many cells and one more, as the reference counts them."""
    return float(np.float16(cells) + np.float16(1)) if cells < LARGEST_HALF else cells + 1


def _tables(subject: Subject) -> Iterator[np.ndarray]:
    """For each word what a grey level becomes: uint64, 256, a bit for every threshold that keeps it."""
    levels = subject.levels
    cut = (levels * 255).astype(np.int64)
    for first in range(0, CURVE, WORD):
        bits = np.clip(cut - first + 1, 0, WORD).astype(np.uint64)
        ones = np.left_shift(np.uint64(1), np.minimum(bits, np.uint64(WORD - 1))) - np.uint64(1)
        yield np.where(bits == WORD, ~np.uint64(0), ones)
    yield (levels >= subject.threshold).astype(np.uint64) | (levels > 0.5).astype(np.uint64) << np.uint64(1)


def _contours(words: np.ndarray) -> np.ndarray:
    """Bit by bit where Sobel's operator finds an edge, beyond the border being 0: uint64, H×W."""
    padded, edges = np.pad(words, 1), np.empty_like(words)
    for top in range(0, len(words), BAND):
        edges[top : top + BAND] = _edges(padded[top : top + BAND + 2])
    return edges


def _edges(padded: np.ndarray) -> np.ndarray:
    """Of a band of rows with a pixel more on every side."""
    rows, columns = (length - 2 for length in padded.shape)

    def moved(down: int, right: int) -> np.ndarray:
        return padded[1 + down : 1 + down + rows, 1 + right : 1 + right + columns]

    above, below = (_smoothed(*(moved(down, right) for right in (-1, 0, 1))) for down in (-1, 1))
    left, right = (_smoothed(*(moved(down, right) for down in (-1, 0, 1))) for right in (-1, 1))
    edges = np.zeros((rows, columns), np.uint64)
    for one, other in (*zip(above, below, strict=True), *zip(left, right, strict=True)):
        edges |= one ^ other
    return edges


def _smoothed(first: np.ndarray, middle: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three binary digits of first + 2·middle + last, bit by bit."""
    carry = first & last
    return first ^ last, middle ^ carry, middle & carry


def _pyramid(words: np.ndarray) -> Iterator[np.ndarray]:
    """Cells of 1, 2, 4, ... pixels a side, counted from the lower right corner: what any of their pixels has."""
    yield words
    for _ in range(SCALES - 1):
        words = np.pad(words, [(length % 2, 0) for length in words.shape])
        words = words[::2, ::2] | words[::2, 1::2] | words[1::2, ::2] | words[1::2, 1::2]
        yield words


def _counts(words: np.ndarray) -> np.ndarray:
    """How many of the words have each bit, 64."""
    counts = np.zeros(WORD, np.int64)
    for start in range(0, words.size, 2**16):
        part = words[start : start + 2**16].astype("<u8")
        bits = np.unpackbits(part.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        counts += bits.sum(axis=0, dtype=np.int64)
    return counts
