"""Qualitative comparison: images, truth and the maps of methods side by side, scores below (paper Fig. 7-10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samsod.config.data_schema import DataConfig
from samsod.data.decoding.images import read_saliency, read_truth
from samsod.data.pair_images import read_pictures
from samsod.data.sources.catalog import Pair, PairSet
from samsod.drawing.choice import Place, find_images, image_metric, ranked_images
from samsod.drawing.mosaic import Mosaic, Tile
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.maps.scoring import MapSet, score_maps, score_pair
from samsod.evaluation.maps.selected import check_whole
from samsod.evaluation.metrics.choice import QUICK, ImageScores, chosen_columns, metrics_of
from samsod.evaluation.tables.text import best
from samsod.utils.errors import UserError, nearest

NARROWEST = 0.68
"""Inches a column needs for its title and a score; more methods go into further blocks."""
SHORT = {"MAE": "M"}


@dataclass(frozen=True)
class Sample:
    """An image of the grid: its data set, its files, and every method's map of it with its scores."""

    dataset: str
    pair: Pair
    maps: Mapping[str, tuple[Path, ImageScores]]


def choose_images(
    maps: Sequence[MapSet],
    rule: str,
    count: int,
    metric: str = "S",
    method: str | None = None,
    cache: ScoreCache | None = None,
) -> list[Place]:
    """Images by how well a method, by default the first, does on them; see `ranked_images`.

    The maps are those of `find_method_maps`; scores are looked up and kept in the cache.

    Raises:
        UserError: A map is missing or cannot be scored; no such metric or method; a count below one.
    """
    known = dict.fromkeys(item.method for item in maps)
    method = next(iter(known)) if method is None else method
    if method not in known:
        raise UserError(f"no method is called {method!r}{nearest(method, known)}; known: {', '.join(known)}")
    (metric,) = chosen_columns([metric])
    if count < 1:
        raise UserError(f"{rule}: expected at least 1 image, found {count}")
    its = [item for item in maps if item.method == method]
    for item in its:
        check_whole(item)
    scores = score_maps(its, cache=cache, metrics=metrics_of([metric]))[method]
    return ranked_images(scores, metric, rule, count)


def read_samples(
    sets: Sequence[PairSet],
    places: Sequence[Place],
    maps: Sequence[MapSet],
    metrics: Sequence[str] = QUICK,
) -> list[Sample]:
    """The chosen images with all methods' maps and their scores by some metrics.

    Raises:
        UserError: A map is missing or cannot be scored; one line each.
    """
    samples, faults = [], []
    methods = dict.fromkeys(item.method for item in maps)
    known = {(item.method, item.dataset, one.stem): one for item in maps for one in item.pairs}
    for dataset, pair in find_images(sets, ["/".join(place) for place in places]):
        found = {method: known.get((method, dataset, pair.stem)) for method in methods}
        faults += [f"{method}: no map for {pair.stem} of {dataset}" for method, its in found.items() if its is None]
        scored = {method: (its.prediction, score_pair(its, metrics)) for method, its in found.items() if its}
        samples.append(Sample(dataset, pair, scored))
    if faults:
        raise UserError(*faults)
    return samples


def grid_mosaics(samples: Sequence[Sample], metrics: Sequence[str], width: float, data: DataConfig) -> list[Mosaic]:
    """The grid, in as many blocks of methods as the width in inches asks for; each repeats the images and the truth.

    The metrics stand below every map, the best of a row in bold.
    """
    inputs = [input_pictures(sample.pair, data) for sample in samples]
    titles, methods = list(inputs[0]), list(samples[0].maps)
    room = max(1, int(width / NARROWEST) - len(titles))
    count = -(-len(methods) // room)
    several = len({sample.dataset for sample in samples}) > 1
    mosaics = []
    for block in np.array_split(np.array(methods, dtype=object), count):
        rows = []
        for sample, images in zip(samples, inputs, strict=True):
            name = f"{sample.dataset}/{sample.pair.stem}" if several else sample.pair.stem
            rows.append((name, [*map(Tile, images.values()), *(_map(sample, method, metrics) for method in block)]))
        mosaics.append(Mosaic([*titles, *block], rows))
    return mosaics


def input_pictures(pair: Pair, data: DataConfig) -> dict[str, np.ndarray]:
    """What a pair's row begins with: its images by modality, and the truth, grey."""
    truth = read_truth(pair.ground_truth).astype(np.uint8) * np.uint8(255)
    return {**read_pictures(pair.images, data), "truth": truth}


def score_texts(sample: Sample, method: str, metrics: Sequence[str]) -> list[tuple[str, bool]]:
    """What stands below a map, `S .912` and `M .021`, and whether no other method is better, as far as it shows."""
    texts = []
    for metric in metrics:
        values = {name: round(image_metric(scores, metric), 3) for name, (_, scores) in sample.maps.items()}
        strong = len(values) > 1 and values[method] == best(metric, values.values())
        texts.append((f"{SHORT.get(metric, metric)} {values[method]:.3f}".replace(" 0.", " ."), strong))
    return texts


def _map(sample: Sample, method: str, metrics: Sequence[str]) -> Tile:
    return Tile(read_saliency(sample.maps[method][0]), score_texts(sample, method, metrics))
