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
from samsod.data.sources.folders import images_by_stem, some_of
from samsod.drawing.choice import Place, check_metrics, find_images, image_metric, ranked_images
from samsod.drawing.mosaic import Mosaic, Tile
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.maps.scoring import MapPair, MapSet, maps_folder, score_maps, score_pair
from samsod.evaluation.metrics.saliency import ImageScores
from samsod.evaluation.tables.text import is_better_when_smaller
from samsod.utils.errors import UserError, nearest

NARROWEST = 0.68
"""Inches a column needs for its title and a score; more methods go into further blocks."""
SHORT = {"MAE": "M"}


@dataclass(frozen=True)
class Sample:
    """An image of the grid: its data set, its files, and every method's map of it with its scores."""

    dataset: str
    pair: Pair
    maps: Mapping[str, Path]
    scores: Mapping[str, ImageScores]


def find_method_maps(predictions: Mapping[str, Path], sets: Sequence[PairSet]) -> dict[str, dict[str, dict[str, Path]]]:
    """The files of every method's maps by method, data set and stem.

    With one data set a method's folder holds the maps itself, or a sub-folder called as the set; with several there
    is such a sub-folder for each. (Maps of images that are not drawn may be missing.)

    Raises:
        UserError: A folder is missing or holds no image; one line each.
    """
    found: dict[str, dict[str, dict[str, Path]]] = {}
    faults: list[str] = []
    for method, folder in predictions.items():
        for pair_set in sets:
            try:
                place = maps_folder(method, folder, pair_set.name, alone=len(sets) == 1)
                found.setdefault(method, {})[pair_set.name] = images_by_stem(place)
            except UserError as error:
                faults += error.args
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return found


def choose_images(
    sets: Sequence[PairSet],
    maps: Mapping[str, Mapping[str, Mapping[str, Path]]],
    rule: str,
    count: int,
    metric: str = "S",
    method: str | None = None,
    cache: ScoreCache | None = None,
) -> list[Place]:
    """Images by how well a method does on them; see `ranked_images`.

    Args:
        sets: The data sets.
        maps: All maps, from `find_method_maps`.
        rule: `worst`, `best` or `spread`.
        count: How many.
        metric: What to rank by.
        method: Whose score; by default the first method's.
        cache: Where scores are looked up and kept.

    Raises:
        UserError: A map is missing or cannot be scored; no such metric or method; a count below one.
    """
    method = next(iter(maps)) if method is None else method
    if method not in maps:
        raise UserError(f"no method is called {method!r}{nearest(method, maps)}; known: {', '.join(maps)}")
    check_metrics([metric])
    if count < 1:
        raise UserError(f"{rule}: expected at least 1 image, found {count}")
    scores = score_maps(map_sets(method, maps[method], sets), cache=cache, weighted_f=metric == "wF")[method]
    return ranked_images(scores, metric, rule, count)


def map_sets(method: str, maps: Mapping[str, Mapping[str, Path]], sets: Sequence[PairSet]) -> list[MapSet]:
    """A method's maps with their truths, to be scored.

    Raises:
        UserError: An image has no map.
    """
    result = []
    for pair_set in sets:
        files = maps[pair_set.name]
        if missing := [pair.stem for pair in pair_set.pairs if pair.stem not in files]:
            raise UserError(f"{method}: no map for {len(missing)} images of {pair_set.name}: {some_of(missing)}")
        found = (MapPair(pair.stem, files[pair.stem], pair.ground_truth) for pair in pair_set.pairs)
        result.append(MapSet(method, pair_set.name, tuple(found)))
    return result


def read_samples(
    sets: Sequence[PairSet],
    places: Sequence[Place],
    maps: Mapping[str, Mapping[str, Mapping[str, Path]]],
    weighted_f: bool = False,
) -> list[Sample]:
    """The chosen images with all methods' maps and scores.

    Raises:
        UserError: A map is missing or cannot be scored; one line each.
    """
    samples, faults = [], []
    for dataset, pair in find_images(sets, ["/".join(place) for place in places]):
        files, scores = {}, {}
        for method, by_set in maps.items():
            path = by_set[dataset].get(pair.stem)
            if path is None:
                faults.append(f"{method}: no map for {pair.stem} of {dataset}")
                continue
            files[method] = path
            scores[method] = score_pair(MapPair(pair.stem, path, pair.ground_truth), weighted_f)
        samples.append(Sample(dataset, pair, files, scores))
    if faults:
        raise UserError(*faults)
    return samples


def grid_mosaics(samples: Sequence[Sample], metrics: Sequence[str], width: float, data: DataConfig) -> list[Mosaic]:
    """The grid, in as many blocks of methods as the width asks for; each repeats the images and the truth.

    Args:
        samples: The rows.
        metrics: What stands below every map, the best of a row in bold.
        width: Of the picture, in inches.
        data: How the images are read.
    """
    titles = [*samples[0].pair.images, "truth"]
    methods = list(samples[0].maps)
    room = max(1, int(width / NARROWEST) - len(titles))
    count = -(-len(methods) // room)
    several = len({sample.dataset for sample in samples}) > 1
    inputs = [_inputs(sample.pair, data) for sample in samples]
    mosaics = []
    for block in np.array_split(np.array(methods, dtype=object), count):
        rows = []
        for sample, images in zip(samples, inputs, strict=True):
            name = f"{sample.dataset}/{sample.pair.stem}" if several else sample.pair.stem
            rows.append((name, [*images, *(_map(sample, method, metrics) for method in block)]))
        mosaics.append(Mosaic([*titles, *block], rows))
    return mosaics


def score_texts(sample: Sample, method: str, metrics: Sequence[str]) -> list[tuple[str, bool]]:
    """What stands below a map, `S .912` and `M .021`, and whether no other method is better, as far as it shows."""
    texts = []
    for metric in metrics:
        values = {name: round(image_metric(scores, metric), 3) for name, scores in sample.scores.items()}
        best = (min if is_better_when_smaller(metric) else max)(values.values())
        strong = len(values) > 1 and values[method] == best
        texts.append((f"{SHORT.get(metric, metric)} {values[method]:.3f}".replace(" 0.", " ."), strong))
    return texts


def _inputs(pair: Pair, data: DataConfig) -> list[Tile]:
    truth = read_truth(pair.ground_truth).astype(np.uint8) * np.uint8(255)
    return [*map(Tile, read_pictures(pair.images, data).values()), Tile(truth)]


def _map(sample: Sample, method: str, metrics: Sequence[str]) -> Tile:
    return Tile(read_saliency(sample.maps[method]), score_texts(sample, method, metrics))
