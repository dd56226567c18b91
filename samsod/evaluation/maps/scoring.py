"""Saliency maps in folders: any number of methods and data sets, paired with their truths by stem and scored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from samsod.data.decoding.images import read_saliency, read_truth
from samsod.data.sources.family import MASK
from samsod.data.sources.folders import OWN, children, find_subfolder, folder_key, images_in, some_of, subfolders
from samsod.data.sources.pairing import video_of
from samsod.evaluation.maps.files import Files
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.metrics.choice import STANDARD, find_metric
from samsod.evaluation.metrics.saliency import ImageScores, score_image
from samsod.evaluation.photos import photo_reader
from samsod.utils.errors import UserError, collected
from samsod.utils.machine import cores
from samsod.utils.progress import progress
from samsod.utils.threads import in_threads

Scores = dict[str, dict[str, dict[str, ImageScores]]]
"""Method -> data set -> stem -> scores."""

FAULTS_SHOWN = 100


@dataclass(frozen=True)
class MapPair:
    """A saliency map and its ground truth; `stem` is the file name both share, without its ending."""

    stem: str
    prediction: Path
    truth: Path
    photo: Path | None = None
    """The image itself, for the metrics that look at it."""


@dataclass(frozen=True)
class MapSet:
    """The maps of one method for one data set, sorted by stem."""

    method: str
    dataset: str
    pairs: tuple[MapPair, ...]
    missing: tuple[str, ...] = ()
    """Stems of the images that have no map, where some may lack theirs."""


def find_maps(
    predictions: Mapping[str, Path | Files],
    truths: Mapping[str, Path | Files],
    photos: Mapping[str, Path] | None = None,
) -> list[MapSet]:
    """Pairs the maps of every method with the truths of every data set, by file stem.

    Args:
        predictions: Folder of each method's maps, by the method's name. With one data set the folder itself holds
            them, or a sub-folder called as the set; with several there is such a sub-folder for each. The names of
            sub-folders are compared without regard to case, hyphens, underscores and blanks. Of videos' frames they
            are `VIDEO/frame.png`.
        truths: Folder of each data set's masks, by the set's name; of frames `VIDEO/frame.png` or
            `VIDEO/GT/frame.png`.
        photos: Folder of each data set's images, when a metric looks at them.

    Returns:
        Methods × data sets, in the order given, every truth with its map.

    Raises:
        UserError: A folder is missing, empty or not to be told from another; a truth without a map or an image, a map
            without a truth, two files of one stem. One line per fault.
    """
    faults = [*_name_faults(predictions, truths)]
    named = {name: _files(place) for name, place in truths.items()}
    masks: dict[str, dict[str, Path]] = {}
    images: dict[str, dict[str, Path]] = {}
    for dataset, files in named.items():
        with collected(faults):
            masks[dataset] = _images_in(files, files.folder, f"the masks of {dataset}", (*MASK.names, OWN))
            if photos:
                images[dataset] = _photos(photos, dataset, masks[dataset])
    sets = []
    for (method, place), dataset in product(predictions.items(), truths):
        files = _files(place)
        with collected(faults):
            alone, by_video = len(truths) == 1, any(map(video_of, masks.get(dataset, ())))
            folder = maps_folder(method, files.folder, dataset, alone, by_video)
            maps = _images_in(files, folder, f"the maps of {method}")
            if dataset in masks:
                faults += _unpaired(maps, folder, masks[dataset], named[dataset].folder)
                stems = sorted(maps.keys() & masks[dataset].keys())
                seen = images.get(dataset, {})
                pairs = (MapPair(stem, maps[stem], masks[dataset][stem], seen.get(stem)) for stem in stems)
                sets.append(MapSet(method, dataset, tuple(pairs)))
    if faults:
        raise UserError(*dict.fromkeys(faults))  # a missing folder lacks every set
    return sets


def score_maps(
    map_sets: Sequence[MapSet],
    threads: int | None = None,
    cache: ScoreCache | None = None,
    metrics: Sequence[str] = STANDARD,
) -> Scores:
    """Scores maps with all cores; the result does not depend on how many, nor on the cache.

    Args:
        map_sets: What to score, from `find_maps`.
        threads: How many; by default one for each core this process may run on.
        cache: Where scores are looked up and kept.
        metrics: Names of the metrics to compute.

    Returns:
        Method -> data set -> stem -> scores, sets and stems in the order given.

    Raises:
        UserError: Maps or masks cannot be read or differ in size; one line for each map, a hundred at most. Or images
            are missing that a metric looks at.
    """
    photographic = [name for name in metrics if find_metric(name).needs_photo]
    if photographic and any(pair.photo is None for item in map_sets for pair in item.pairs):
        raise UserError(f"{', '.join(photographic)}: looks at the images themselves, which nobody named (--images DIR)")
    places = [(item.method, item.dataset, pair) for item in map_sets for pair in item.pairs]

    def scores_or_fault(place: tuple[str, str, MapPair]) -> ImageScores | str:
        try:
            return _looked_up_or_scored(place[2], cache, metrics)
        except UserError as error:
            return str(error)

    scored: Scores = {}
    faults = []
    with closing(in_threads(scores_or_fault, places, threads or cores(), "scoring")) as results:
        outcomes = progress(results, len(places), "scoring maps")
        for (method, dataset, pair), outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, str):
                faults.append(outcome)
            else:
                scored.setdefault(method, {}).setdefault(dataset, {})[pair.stem] = outcome
    if cache:
        cache.prune()
    if faults:
        more = len(faults) - FAULTS_SHOWN
        raise UserError(*faults[:FAULTS_SHOWN], *([f"and {more} more maps like these"] if more > 0 else []))
    return scored


def _looked_up_or_scored(pair: MapPair, cache: ScoreCache | None, metrics: Sequence[str]) -> ImageScores:
    if cache is None:
        return score_pair(pair, metrics)
    try:
        seen = pair.photo if any(find_metric(name).needs_photo for name in metrics) else None
        key = cache.key(pair.prediction, pair.truth, seen)
    except OSError:
        return score_pair(pair, metrics)  # which says what is wrong with the file
    known = cache.get(key)
    if missing := [name for name in metrics if name not in known]:
        known |= score_pair(pair, missing)
        cache.put(key, known)
    return {name: known[name] for name in metrics}


def score_pair(pair: MapPair, metrics: Sequence[str] = STANDARD) -> dict[str, np.ndarray]:
    """Reads a map and its mask and scores them.

    Raises:
        UserError: One of them cannot be used, or their sizes differ.
    """
    prediction, truth = read_saliency(pair.prediction), read_truth(pair.truth)
    if prediction.shape != truth.shape:
        sizes = [f"{width}x{height}" for height, width in (prediction.shape, truth.shape)]
        raise UserError(
            f"{pair.prediction}: is {sizes[0]}, but its truth {pair.truth} is {sizes[1]} pixels wide and high; "
            "maps are scored at the truth's size and never resized: save it so"
        )
    photo = photo_reader(pair.photo, truth) if pair.photo else None
    return score_image(prediction, truth, metrics, photo)


def _files(place: Path | Files) -> Files:
    return place if isinstance(place, Files) else Files(place)


def _photos(photos: Mapping[str, Path], dataset: str, masks: Iterable[str]) -> dict[str, Path]:
    """The images of a data set, one for each mask; when only one folder is given, its name does not matter."""
    folder = next(iter(photos.values())) if len(photos) == 1 else photos.get(dataset)
    if folder is None:
        raise UserError(f"no images of {dataset}; named are those of {', '.join(photos)}")
    found = _images_in(Files(folder), folder, f"the images of {dataset}")
    if missing := [stem for stem in masks if stem not in found]:
        raise UserError(f"{folder}: no image for {len(missing)} masks of {dataset}: {some_of(missing)}")
    return found


def _name_faults(predictions: Mapping[str, Any], truths: Mapping[str, Any]) -> Iterator[str]:
    if not predictions:
        yield "no method to score: give at least one folder of saliency maps"
    if not truths:
        yield "no data set to score on: give at least one folder of masks"
    known: dict[str, str] = {}
    for dataset in truths:
        other = known.setdefault(folder_key(dataset), dataset)
        if other != dataset:
            yield f"the data sets {other} and {dataset} cannot be told apart by name"


def maps_folder(method: str, folder: Path, dataset: str, alone: bool, by_video: bool = False) -> Path:
    """Where a method's maps of a data set lie: in its folder itself only when the data set is the only one.

    With videos in it, the folder itself holds no image either way.

    Raises:
        UserError: No such folder.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; expected the maps of {method}")
    if alone and by_video:
        return next(iter(children(folder, [dataset])), folder)
    if alone and (images_in(folder) or not subfolders(folder)):
        return folder
    return find_subfolder(folder, dataset)


def _images_in(files: Files, folder: Path, expected: str, within: Sequence[str] = (OWN,)) -> dict[str, Path]:
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; expected {expected}")
    return files.by_stem(folder, within)


def _unpaired(maps: Mapping[str, Path], place: Path, masks: Mapping[str, Path], truth: Path) -> Iterator[str]:
    """Faults for maps and masks that lack the other."""
    if missing := sorted(masks.keys() - maps.keys()):
        yield f"{place}: no map for {len(missing)} of the {len(masks)} masks in {truth}: {some_of(missing)}"
    if extra := sorted(maps.keys() - masks.keys()):
        yield f"{place}: {len(extra)} of its {len(maps)} maps have no mask in {truth}: {some_of(extra)}"
