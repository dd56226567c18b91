"""Which scenes are predicted: image files paired by stem or by number, or the frames of videos; without masks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from samsod.data.sources.folders import by_stem, images_by_stem, images_or_frames, listed
from samsod.data.sources.modalities import role_of
from samsod.data.sources.pairing import Files, lines_of, match, summarise
from samsod.prediction.frames import Track, VideoScenes
from samsod.prediction.items import Item, Items
from samsod.prediction.videos import ENDINGS as VIDEO_ENDINGS
from samsod.utils.errors import UserError, about, nearest
from samsod.utils.files import expanded

LIST_ENDING = ".txt"
_NUMBER = re.compile(r"%(?:0(\d{1,2}))?d")
"""Where a pattern has a number, as printf writes one."""


class FileScenes:
    """Scenes whose images are files.

    Args:
        modalities: As `Items` has them.
        scenes: By stem the files of each scene, by modality.
        unmatched: A line on each file or folder of files that lacks partners.
    """

    def __init__(
        self, modalities: Sequence[str], scenes: Mapping[str, Mapping[str, Path]], unmatched: Sequence[str] = ()
    ) -> None:
        self.modalities = modalities
        self.unmatched = unmatched
        self.notes: Sequence[str] = ()
        self.rate: float | None = None
        self._scenes = scenes

    def stems(self) -> Iterator[str]:
        """The stems of all."""
        return iter(self._scenes)

    def read(self, wanted: Callable[[int, str], bool]) -> Iterator[Item]:
        """The wanted ones; the files are not opened."""
        for index, (stem, images) in enumerate(self._scenes.items()):
            if wanted(index, stem):
                yield Item(stem, str(next(iter(images.values()))), images)


def find_items(sources: Mapping[str, str], modalities: Sequence[str], allow_missing: bool) -> Items:
    """Pairs files by stem; those of patterns by number; a single file of each modality; or the frames of videos.

    Args:
        sources: By modality a folder (of images, or of videos with a folder for each modality in each), a list file
            (`.txt`, one image a line, relative to it), one image, a pattern such as `frames/%04d.png`, or a video.
            Beside a video, images are taken in their order as its frames.
        modalities: Those of the model, the reference first.
        allow_missing: Take scenes that lack some of them too.

    Raises:
        UserError: A modality is unknown or missing, a folder, list or video cannot be used, or some stem is there
            twice.
    """
    for name in sources:
        if name not in modalities:
            raise UserError(f"--{name}: the model takes {', '.join(modalities)}{nearest(name, modalities)}")
    lacking = [f"--{name}" for name in modalities if name not in sources]
    if len(lacking) == len(modalities) or (lacking and not allow_missing):
        hint = "" if len(lacking) == len(modalities) else ", or --allow-missing to predict without"
        raise UserError(f"no {' and no '.join(lacking)}: say where these images are{hint}")
    places = {name: expanded(sources[name]) for name in modalities if name in sources}
    if any(_is_video(place) for place in places.values()):
        items: Items = VideoScenes({name: _track(place) for name, place in places.items()}, allow_missing)
    else:
        items = _file_scenes(places, allow_missing)
    items.notes = [*items.notes, *_swapped(places, modalities)]
    return items


def _swapped(places: Mapping[str, Path], modalities: Sequence[str]) -> Iterator[str]:
    """A line on each place that is called as those of another modality are, which nothing else would tell."""
    usual = {name: {word.lower() for word in (name, *role_of(name).names)} for name in modalities}
    for name, place in places.items():
        called = (place.name if os.path.isdir(place) else place.stem).lower()
        others = [other for other in modalities if called in usual[other]]
        if others and name not in others:
            yield f"--{name} {place}: is called as {others[0]} images are; were the options mixed up?"


def _file_scenes(places: Mapping[str, Path], allow_missing: bool) -> FileScenes:
    files = {name: _files(place, role_of(name).names) for name, place in places.items()}
    patterns = [place for place in places.values() if _is_pattern(place)]
    if patterns and len(patterns) < len(places):
        other = next(place for place in places.values() if place not in patterns)
        raise about(other, f"expected a pattern as {patterns[0].name} is one: images pair by name or by number")
    if all(_is_single(place) for place in places.values()):
        return FileScenes(list(places), {next(iter(places.values())).stem: places})
    if allow_missing:
        scenes, unmatched = _some_of(files), list[str]()
    else:
        pairing = match(files, {name: role_of(name) for name in files}, places)
        scenes, unmatched = pairing.whole, list(summarise(pairing.unmatched))
    if patterns:  # not the number: a map is found by its image's name
        scenes = {next(iter(images.values())).stem: images for images in scenes.values()}
    return FileScenes(list(places), scenes, unmatched)


def _files(place: Path, folders: Sequence[str] = ()) -> Files:
    """The files of a place by stem; of a set of videos, each with a folder that is called so, by `VIDEO/stem`."""
    if os.path.isdir(place):
        return images_or_frames(place, folders) if folders else images_by_stem(place)
    if place.suffix.lower() == LIST_ENDING:
        return by_stem([place.parent / expanded(line) for line in lines_of(place)], place)
    if os.path.exists(place):
        return {place.stem: place}
    if _is_pattern(place):
        return _numbered(place)
    raise about(place, "no such file or folder")


def _numbered(pattern: Path) -> Files:
    """The files of a pattern by number, in its order."""
    before, width, after = _NUMBER.split(pattern.name)
    least = max(1, int(width or 1))
    digits = rf"\d{{{least}}}|[1-9]\d{{{least},}}"
    wanted = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
    found = [(int(match[1]), name) for name in listed(pattern.parent) if (match := wanted.fullmatch(name))]
    if not found:
        raise about(pattern, "no file is called so, whatever its number")
    return {f"{number:06d}": pattern.parent / name for number, name in sorted(found)}


def _track(place: Path) -> Track:
    return place if _is_video(place) else list(_files(place).values())


def _is_video(place: Path) -> bool:
    return place.suffix.lower() in VIDEO_ENDINGS and not os.path.isdir(place)


def _is_pattern(place: Path) -> bool:
    return len(_NUMBER.findall(place.name)) == 1 and not os.path.exists(place)


def _is_single(place: Path) -> bool:
    return os.path.isfile(place) and place.suffix.lower() != LIST_ENDING


def _some_of(files: Mapping[str, Files]) -> Mapping[str, Files]:
    stems = sorted({stem for by_name in files.values() for stem in by_name})
    return {stem: {name: by_name[stem] for name, by_name in files.items() if stem in by_name} for stem in stems}
