"""Maps of any methods for the pairs of data sets as a config selects them, not for all masks of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from samsod.data.sources.catalog import PairSet
from samsod.data.sources.folders import images_or_frames, some_of
from samsod.data.sources.pairing import video_of
from samsod.evaluation.maps.scoring import MapPair, MapSet, maps_folder
from samsod.utils.errors import UserError, collected


def find_method_maps(predictions: Mapping[str, Path], sets: Sequence[PairSet], partial: bool = False) -> list[MapSet]:
    """The maps of every method with the truths of the sets, to be scored.

    With one data set a method's folder holds the maps itself, or a sub-folder called as the set; with several there
    is such a sub-folder for each. Maps of videos' frames lie in folders of these videos in it. (Maps of images that
    nobody asks for may be there.)

    Args:
        predictions: The methods' folders by name.
        sets: The sets.
        partial: Images may lack a map, and are left out.

    Raises:
        UserError: A folder is missing or holds no image, or an image has no map; one line each.
    """
    found: list[MapSet] = []
    faults: list[str] = []
    for (method, folder), pair_set in product(predictions.items(), sets):
        with collected(faults):
            by_video = any(video_of(pair.stem) for pair in pair_set.pairs)
            files = images_or_frames(maps_folder(method, folder, pair_set.name, len(sets) == 1, by_video))
            there = [pair for pair in pair_set.pairs if pair.stem in files]
            pairs = tuple(MapPair(pair.stem, files[pair.stem], pair.ground_truth, pair.reference) for pair in there)
            missing = tuple(pair.stem for pair in pair_set.pairs if pair.stem not in files)
            found.append(MapSet(method, pair_set.name, pairs, missing))
            if not partial:
                check_whole(found[-1])
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return found


def check_whole(maps: MapSet) -> None:
    """Raises UserError when an image has no map."""
    if maps.missing:
        raise UserError(
            f"{maps.method}: no map for {len(maps.missing)} images of {maps.dataset}: {some_of(maps.missing)}"
        )
