"""Which images a figure shows: by name, or by how well a method does on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from samsod.data.sources.catalog import Pair, PairSet
from samsod.evaluation.metrics.choice import ImageScores, columns_of
from samsod.evaluation.tables.text import is_better_when_smaller
from samsod.utils.errors import UserError, nearest

RULES = ("worst", "best", "spread")
Place = tuple[str, str]
"""Data set and stem of an image."""


def image_metric(scores: ImageScores, metric: str) -> float:
    """One of the columns of a results table for a single image: of the curves their maximum or mean."""
    return float(columns_of(scores)[metric])


def ranked_images(scores: Mapping[str, Mapping[str, ImageScores]], metric: str, rule: str, count: int) -> list[Place]:
    """Images of several sets together by a method's score.

    Args:
        scores: The method's scores by data set and stem.
        metric: See `image_metric`; of MAE small values are good.
        rule: `worst` (worst first), `best` (best first) or `spread`: from the worst to the best at equal steps.
        count: How many; all when there are fewer.
    """
    sign = -1 if is_better_when_smaller(metric) else 1
    places = [(dataset, stem) for dataset, images in scores.items() for stem in images]
    places.sort(key=lambda place: sign * image_metric(scores[place[0]][place[1]], metric))
    count = min(count, len(places))
    if rule == "spread":
        return [places[i] for i in np.linspace(0, len(places) - 1, count).round().astype(int)]
    return places[:count] if rule == "worst" else places[::-1][:count]


def find_images(sets: Sequence[PairSet], names: Sequence[str]) -> list[tuple[str, Pair]]:
    """Data set and files of images by stem, or by `SET/STEM` where several sets share a stem.

    Raises:
        UserError: No such image, or several sets have it; one line each.
    """
    known: dict[str, list[tuple[str, Pair]]] = {}
    for found in sets:
        for pair in found.pairs:
            for name in (pair.stem, f"{found.name}/{pair.stem}"):
                known.setdefault(name, []).append((found.name, pair))
    faults = []
    for name in names:
        named = known.get(name, [])
        if not named:
            where = ", ".join(found.name for found in sets)
            faults.append(f"no image {name!r} in {where}{nearest(name, known)}")
        elif len(named) > 1:
            choices = " or ".join(f"{dataset}/{pair.stem}" for dataset, pair in named)
            faults.append(f"several sets have an image {name!r}: say {choices}")
    if faults:
        raise UserError(*faults)
    return [known[name][0] for name in names]
