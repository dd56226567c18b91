"""Which files are predicted: pairs made by stem from folders, list files or single files, without masks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from samsod.data.sources.folders import by_stem, images_by_stem
from samsod.data.sources.modalities import role_of
from samsod.data.sources.pairing import Files, lines_of, match, summarise
from samsod.utils.errors import UserError, nearest
from samsod.utils.files import expanded

LIST_ENDING = ".txt"


class SceneFiles(NamedTuple):
    """The images of one scene by given modality, the reference first, and the name of its map."""

    stem: str
    images: Mapping[str, Path]


class Found(NamedTuple):
    """The scenes that can be predicted, and a line on each file or folder of files that cannot for want of partners."""

    scenes: list[SceneFiles]
    unmatched: list[str]


def find_scenes(sources: Mapping[str, str], modalities: Sequence[str], allow_missing: bool) -> Found:
    """Pairs files by stem, or a single file of each modality whatever they are called.

    Args:
        sources: By modality a folder, a list file (`.txt`, one image a line, relative to it), or one image.
        modalities: Those of the model, the reference first.
        allow_missing: Take scenes that lack some of them too.

    Raises:
        UserError: A modality is unknown or missing, a folder or list cannot be used, or some stem is there twice.
    """
    for name in sources:
        if name not in modalities:
            raise UserError(f"--{name}: the model takes {', '.join(modalities)}{nearest(name, modalities)}")
    lacking = [f"--{name}" for name in modalities if name not in sources]
    if len(lacking) == len(modalities) or (lacking and not allow_missing):
        hint = "" if len(lacking) == len(modalities) else ", or --allow-missing to predict without"
        raise UserError(f"no {' and no '.join(lacking)}: say where these images are{hint}")
    places = {name: expanded(sources[name]) for name in modalities if name in sources}
    files = {name: _files(place) for name, place in places.items()}
    if all(_is_single(place) for place in places.values()):
        return Found([SceneFiles(next(iter(places.values())).stem, places)], [])
    if allow_missing:
        return Found(_some_of(files), [])
    pairing = match(files, {name: role_of(name) for name in files}, places)
    return Found([SceneFiles(*item) for item in pairing.whole.items()], list(summarise(pairing.unmatched)))


def _files(place: Path) -> Files:
    if os.path.isdir(place):
        return images_by_stem(place)
    if place.suffix.lower() == LIST_ENDING:
        return by_stem([place.parent / expanded(line) for line in lines_of(place)], place)
    if not os.path.exists(place):
        raise UserError(f"{place}: no such file or folder")
    return {place.stem: place}


def _is_single(place: Path) -> bool:
    return not os.path.isdir(place) and place.suffix.lower() != LIST_ENDING


def _some_of(files: Mapping[str, Files]) -> list[SceneFiles]:
    stems = sorted({stem for by_name in files.values() for stem in by_name})
    return [
        SceneFiles(stem, {name: by_name[stem] for name, by_name in files.items() if stem in by_name}) for stem in stems
    ]
