"""Maps of any methods for the pairs of data sets as a config selects them, not for all masks of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from samsod.data.sources.catalog import PairSet
from samsod.data.sources.folders import images_or_frames, some_of
from samsod.data.sources.pairing import video_of
from samsod.evaluation.maps.scoring import MapPair, MapSet, maps_folder
from samsod.utils.errors import UserError, collected


def find_method_maps(predictions: Mapping[str, Path], sets: Sequence[PairSet]) -> dict[str, dict[str, dict[str, Path]]]:
    """The files of every method's maps by method, data set and stem.

    With one data set a method's folder holds the maps itself, or a sub-folder called as the set; with several there
    is such a sub-folder for each. Maps of videos' frames lie in folders of these videos in it. (Maps of images that
    nobody asks for may be missing.)

    Raises:
        UserError: A folder is missing or holds no image; one line each.
    """
    found: dict[str, dict[str, dict[str, Path]]] = {}
    faults: list[str] = []
    for method, folder in predictions.items():
        for pair_set in sets:
            with collected(faults):
                by_video = any(video_of(pair.stem) for pair in pair_set.pairs)
                place = maps_folder(method, folder, pair_set.name, len(sets) == 1, by_video)
                found.setdefault(method, {})[pair_set.name] = images_or_frames(place)
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return found


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
