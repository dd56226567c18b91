"""Whether two methods differ: bootstrap intervals of the difference of their scores over the same images.

Images are drawn with replacement, the same ones for both methods, and every column is computed anew: of the mean
curves, where it is a maximum. The middle 95 % of the differences are the interval (the percentile method; Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). Of methods that were trained several times the
runs are drawn too, in pairs and independently of the images: every run drawn is scored on every image drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samsod.config.data_schema import OVERALL
from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.choice import column_names, columns_of
from samsod.evaluation.metrics.saliency import ImageScores
from samsod.evaluation.tables.text import csv_text, is_better_when_smaller, text_table
from samsod.utils.errors import UserError, nearest

SEED = 0
RESAMPLES = 2000
COVERED = (2.5, 97.5)
"""Percentiles between which an interval lies."""
_BLOCK = 100


@dataclass(frozen=True)
class Difference:
    """One column of two methods on one data set."""

    dataset: str
    metric: str
    first: float
    """Of the first method; of several runs their mean."""
    second: float
    low: float
    """Of the interval of first minus second."""
    high: float
    each: tuple[float, ...]
    """First minus second of every run."""

    @property
    def better(self) -> int | None:
        """0 or 1 for the method that is better; None where the interval holds 0."""
        if self.low <= 0 <= self.high:
            return None
        return int((self.low > 0) == is_better_when_smaller(self.metric))


def check_pair(methods: Sequence[str], pair: Sequence[str]) -> None:
    """Raises UserError unless a pair are two of the methods."""
    for name in pair:
        if name not in methods:
            raise UserError(
                f"--paired: no method is called {name!r}{nearest(name, methods)}; there are {', '.join(methods)}"
            )
    if pair[0] == pair[1]:
        raise UserError(f"--paired: {pair[0]} and {pair[1]} are one method")


def paired_differences(
    scores: Scores,
    pair: Sequence[str | Sequence[str]],
    resamples: int = RESAMPLES,
    seed: int = SEED,
    together: bool = True,
) -> list[Difference]:
    """Compares two methods on every data set, and on all together.

    Args:
        scores: What was scored; with videos in the place of images, whole videos are drawn, see `drawn_units`.
        pair: The names of the two; of methods with several runs the names of each one's runs, the n-th of the one
            paired with the n-th of the other.
        resamples: How often images are drawn, and runs where there are several.
        seed: Of the draws; the same seed gives the same intervals.
        together: Whether several sets are also compared by their mean over all images.

    Returns:
        The differences by data set and column, in the order of tables.
    """
    generator = np.random.default_rng(seed)
    runs = [[side] if isinstance(side, str) else list(side) for side in pair]
    shares = _drawn_shares(len(runs[0]), resamples, generator) if len(runs[0]) > 1 else np.ones((resamples, 1))
    found: dict[str, tuple[list[str], np.ndarray, np.ndarray]] = {}
    for dataset, images in scores[runs[0][0]].items():
        layout = next(iter(images.values()))
        vectors = [[_vectors([scores[run][dataset][stem] for stem in images]) for run in side] for side in runs]
        columns = np.array([[_columns(one.mean(axis=0), layout) for one in side] for side in vectors])
        found[dataset] = [*column_names(layout)], columns, _resampled(vectors, layout, shares, generator)
    if together and len(found) > 1:
        counts = np.array([len(images) for images in scores[runs[0][0]].values()])
        parts = counts / counts.sum()
        values, draws = (sum(map(np.multiply, parts, [item[i] for item in found.values()])) for i in (1, 2))
        found[OVERALL] = next(iter(found.values()))[0], np.asarray(values), np.asarray(draws)
    return [
        _difference(dataset, name, every[:, :, i], drawn[:, i])
        for dataset, (names, every, drawn) in found.items()
        for i, name in enumerate(names)
    ]


def paired_table(
    differences: Sequence[Difference], methods: Sequence[str], columns: Sequence[str] | None = None, digits: int = 4
) -> str:
    """The differences (of some columns alone) as text, with the better method where the interval leaves no doubt."""
    rows = []
    for one in differences:
        if columns is not None and one.metric not in columns:
            continue
        values = [f"{one.first:.{digits}f}", f"{one.second:.{digits}f}"]
        change = [f"{value:+.{digits}f}" for value in (one.first - one.second, one.low, one.high)]
        better = "-" if one.better is None else methods[one.better]
        rows.append([one.dataset, one.metric, *values, change[0], f"{change[1]} to {change[2]}", better])
    return text_table(["set", "metric", *methods, "difference", "95 % interval", "better"], rows, left=2)


def paired_csv(differences: Sequence[Difference], methods: Sequence[str]) -> str:
    """The differences with all their digits, a line each."""
    lines: list[list[object]] = [["set", "metric", *methods, "difference", "low", "high", "better"]]
    for one in differences:
        better = "" if one.better is None else methods[one.better]
        values = [one.first, one.second, one.first - one.second, one.low, one.high]
        lines.append([one.dataset, one.metric, *values, better])
    return csv_text(lines)


def _difference(dataset: str, name: str, values: np.ndarray, draws: np.ndarray) -> Difference:
    """From a column's values, 2 × runs, and its resampled differences."""
    first, second = map(float, values.mean(axis=1))
    low, high = map(float, np.percentile(draws, COVERED))
    return Difference(dataset, name, first, second, low, high, tuple(map(float, values[0] - values[1])))


def _drawn_shares(count: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """What each of `count` is worth in `size` samples of as many with replacement, size × count."""
    return generator.multinomial(count, np.full(count, 1 / count), size=size) / count


def _resampled(
    vectors: Sequence[Sequence[np.ndarray]], layout: ImageScores, shares: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Differences of the columns, resamples × columns.

    Args:
        vectors: What `_vectors` gives of every run of the two.
        layout: One of the images.
        shares: What every run is worth in a resample, resamples × runs.
        generator: Draws the images, the same for all runs.
    """
    blocks = []
    for start in range(0, len(shares), _BLOCK):
        part = shares[start : start + _BLOCK]
        weights = _drawn_shares(len(vectors[0][0]), len(part), generator)
        one, other = (np.array([_columns(weights @ values, layout) for values in side]) for side in vectors)
        blocks.append(np.einsum("br,rbc->bc", part, one - other))
    return np.concatenate(blocks)


def _vectors(images: Sequence[ImageScores]) -> np.ndarray:
    """Everything a mean is taken of, images × numbers."""
    return np.array([np.concatenate([*image.values()]) for image in images])


def _columns(mean: np.ndarray, layout: ImageScores) -> np.ndarray:
    """The columns of means, `[..., columns]`, from `[..., numbers]`; one image says how these are laid out."""
    parts = np.split(mean, np.cumsum([values.size for values in layout.values()])[:-1], axis=-1)
    return np.stack([*columns_of(dict(zip(layout, parts, strict=True))).values()], axis=-1)
