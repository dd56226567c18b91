"""Saliency maps in folders: any number of methods and data sets, paired with their truths by stem and scored."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from samsod.data.decoding.images import cv2, read_saliency, read_truth
from samsod.data.sources.folders import ENDINGS, find_subfolder, folder_key, images_by_stem, some_of
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.metrics.saliency import ImageScores, score_image
from samsod.utils.errors import UserError
from samsod.utils.machine import cores
from samsod.utils.progress import progress

Scores = dict[str, dict[str, dict[str, ImageScores]]]
"""Method -> data set -> stem -> scores."""

FAULTS_SHOWN = 100
CHUNK = 4
"""Maps a process gets at once: few enough to keep all busy to the end."""
SHARE = 16
"""Maps that are worth starting a process for, which takes as long as scoring about so many."""


@dataclass(frozen=True)
class MapPair:
    """A saliency map and its ground truth; `stem` is the file name both share, without its ending."""

    stem: str
    prediction: Path
    truth: Path


@dataclass(frozen=True)
class MapSet:
    """The maps of one method for one data set, sorted by stem."""

    method: str
    dataset: str
    pairs: tuple[MapPair, ...]


def find_maps(predictions: Mapping[str, Path], truths: Mapping[str, Path]) -> list[MapSet]:
    """Pairs the maps of every method with the truths of every data set, by file stem.

    Args:
        predictions: Folder of each method's maps, by the method's name. With one data set the folder itself holds
            them, or a sub-folder called as the set; with several there is such a sub-folder for each. The names of
            sub-folders are compared without regard to case, hyphens, underscores and blanks.
        truths: Folder of each data set's masks, by the set's name.

    Returns:
        Methods × data sets, in the order given, every truth with its map.

    Raises:
        UserError: A folder is missing, empty or not to be told from another; a truth without a map, a map without a
            truth, two files of one stem. One line per fault.
    """
    faults = [*_name_faults(predictions, truths)]
    masks: dict[str, dict[str, Path]] = {}
    for dataset, folder in truths.items():
        with _noted(faults):
            masks[dataset] = _images_in(folder, f"the masks of {dataset}")
    sets = []
    for (method, folder), dataset in product(predictions.items(), truths):
        with _noted(faults):
            place = maps_folder(method, folder, dataset, alone=len(truths) == 1)
            maps = _images_in(place, f"the maps of {method}")
            if dataset in masks:
                faults += _unpaired(maps, place, masks[dataset], truths[dataset])
                pairs = (
                    MapPair(stem, maps[stem], masks[dataset][stem]) for stem in maps.keys() & masks[dataset].keys()
                )
                sets.append(MapSet(method, dataset, tuple(sorted(pairs, key=lambda pair: pair.stem))))
    if faults:
        raise UserError(*dict.fromkeys(faults))  # a missing folder lacks every set
    return sets


def score_maps(
    map_sets: Sequence[MapSet],
    processes: int | None = None,
    cache: ScoreCache | None = None,
    weighted_f: bool = True,
) -> Scores:
    """Scores maps with all cores; the result does not depend on how many, nor on the cache.

    With more than one process a script must call this below `if __name__ == "__main__":`, as the processes import it.

    Args:
        map_sets: What to score, from `find_maps`.
        processes: How many processes; by default one for each core this one may run on.
        cache: Where scores are looked up and kept.
        weighted_f: Compute the weighted F-measure, which takes longest.

    Returns:
        Method -> data set -> stem -> scores, sets and stems in the order given.

    Raises:
        UserError: Maps or masks cannot be read or differ in size; one line for each map, a hundred at most. Or a
            scoring process was killed.
    """
    pairs = {(item.method, item.dataset, pair.stem): pair for item in map_sets for pair in item.pairs}
    keys = _keys(list(pairs.values()), cache) if cache else {}
    found: dict[tuple[str, str, str], ImageScores] = {}
    for place, pair in pairs.items():
        if cache and (known := cache.get(keys[pair], weighted_f) if pair in keys else None):
            found[place] = known
    wanted = {place: pair for place, pair in pairs.items() if place not in found}
    faults = []
    results = _score_all(list(wanted.values()), processes or cores(), weighted_f)
    for (place, pair), scores in zip(wanted.items(), progress(results, len(wanted), "scoring maps"), strict=True):
        if isinstance(scores, str):
            faults.append(scores)
            continue
        found[place] = scores
        if cache and pair in keys:
            cache.put(keys[pair], scores)
    if cache and wanted:
        cache.prune()
    if faults:
        more = len(faults) - FAULTS_SHOWN
        raise UserError(*faults[:FAULTS_SHOWN], *([f"and {more} more maps like these"] if more > 0 else []))
    scored: Scores = {}
    for place in pairs:
        scored.setdefault(place[0], {}).setdefault(place[1], {})[place[2]] = found[place]
    return scored


def score_pair(pair: MapPair, weighted_f: bool = True) -> ImageScores:
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
    return score_image(prediction, truth, weighted_f)


def _score_or_fault(pair: MapPair, weighted_f: bool) -> ImageScores | str:
    try:
        return score_pair(pair, weighted_f)
    except UserError as error:
        return str(error)


def _score_all(pairs: Sequence[MapPair], processes: int, weighted_f: bool) -> Iterator[ImageScores | str]:
    """Scores or the fault of every pair, in order."""
    processes = min(processes, len(pairs) // SHARE)
    if processes <= 1:
        yield from (_score_or_fault(pair, weighted_f) for pair in pairs)
        return
    # Not forked from this process, which may hold a GPU or threads that would not live on in the copy.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(processes, context, _init_worker)
    try:
        yield from pool.map(_score_or_fault, pairs, [weighted_f] * len(pairs), chunksize=CHUNK)
    except BrokenProcessPool:
        raise UserError("a scoring process was killed, maybe for want of memory; try fewer processes") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _init_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent alone answers
    cv2.setNumThreads(0)


def _keys(pairs: Sequence[MapPair], cache: ScoreCache) -> dict[MapPair, str]:
    """The cache's names of all pairs whose files can be read; hashing runs in threads, it needs no interpreter."""

    def key(pair: MapPair) -> str | None:
        try:
            return cache.key(pair.prediction, pair.truth)
        except OSError:
            return None  # scoring will say what is wrong

    with ThreadPoolExecutor(cores()) as pool:
        keys = zip(pairs, progress(pool.map(key, pairs), len(pairs), "looking for known scores"), strict=True)
        return {pair: name for pair, name in keys if name}


def _name_faults(predictions: Mapping[str, Path], truths: Mapping[str, Path]) -> Iterator[str]:
    if not predictions:
        yield "no method to score: give at least one folder of saliency maps"
    if not truths:
        yield "no data set to score on: give at least one folder of masks"
    known: dict[str, str] = {}
    for dataset in truths:
        other = known.setdefault(folder_key(dataset), dataset)
        if other != dataset:
            yield f"the data sets {other} and {dataset} cannot be told apart by name"


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """Adds the block's faults to the others instead of ending at the first."""
    try:
        yield
    except UserError as error:
        faults += error.args
    except PermissionError as error:
        faults.append(f"{error.filename}: cannot be read: {error.strerror}")


def maps_folder(method: str, folder: Path, dataset: str, alone: bool) -> Path:
    """Where a method's maps of a data set lie: in its folder itself only when the data set is the only one.

    Raises:
        UserError: No such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the maps of {method}")
    if alone:
        inside = list(folder.iterdir())
        if any(path.suffix.lower() in ENDINGS for path in inside) or not any(path.is_dir() for path in inside):
            return folder
    return find_subfolder(folder, dataset)


def _images_in(folder: Path, expected: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected {expected}")
    return images_by_stem(folder)


def _unpaired(maps: Mapping[str, Path], place: Path, masks: Mapping[str, Path], truth: Path) -> Iterator[str]:
    """Faults for maps and masks that lack the other."""
    if missing := sorted(masks.keys() - maps.keys()):
        yield f"{place}: no map for {len(missing)} of the {len(masks)} masks in {truth}: {some_of(missing)}"
    if extra := sorted(maps.keys() - masks.keys()):
        yield f"{place}: {len(extra)} of its {len(maps)} maps have no mask in {truth}: {some_of(extra)}"
