"""Folders of images: their files by stem, and sub-folders by names that differ in writing only."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from samsod.utils.errors import UserError, shown

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")

OWN = "."
"""Among the names of folders in a video's: the video's own."""
StemOf = Callable[[Path], str | None]


class Absent(UserError):
    """A folder that was looked for is not there, or its content cannot be."""


class NoImage(UserError):
    """A folder holds no image."""


def plain_stem(path: Path) -> str | None:
    """The name of a file without its ending."""
    return path.stem


def images_by_stem(folder: Path, stem_of: StemOf = plain_stem) -> dict[str, Path]:
    """The images of a folder by stem, in the order of their names; other files and hidden ones are passed over.

    Links that lead nowhere count: what reads them will say so.

    Args:
        folder: The folder.
        stem_of: Finds the stem in a file's name; None: it is not one of these.

    Raises:
        UserError: The folder cannot be listed, holds no image, or some of one stem; one line for each such stem.
    """
    return by_stem(images_in(folder), folder, stem_of)


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, in the order of their names; other files and hidden ones are passed over.

    Raises:
        Absent: The folder cannot be listed.
    """
    paths = [folder / name for name in listed(folder) if os.path.splitext(name)[1].lower() in ENDINGS]
    return [path for path in paths if os.path.isfile(path) or not os.path.exists(path)]


def images_or_frames(folder: Path, within: Sequence[str] = (OWN,), stem_of: StemOf = plain_stem) -> dict[str, Path]:
    """The images of a folder by stem; where it holds none, those of the videos in it by `VIDEO/stem`.

    Args:
        folder: The folder, with `0001.png`, or with `VIDEO/GT/0001.png`, or `VIDEO/0001.png`.
        within: How the folder in a video's that holds its images may be called; last, `OWN`.
        stem_of: As of `images_by_stem`.

    Raises:
        UserError: As of `images_by_stem`.
    """
    try:
        return images_by_stem(folder, stem_of)
    except NoImage:
        frames = {}
        for video in subfolders(folder):
            own = [video] if OWN in within else []
            for place in [*children(video, within), *own][:1]:
                with suppress(NoImage):
                    found = images_by_stem(place, stem_of)
                    frames.update({f"{video.name}/{stem}": path for stem, path in found.items()})
        if not frames:
            raise
        return frames


def by_stem(paths: Iterable[Path], place: Path, stem_of: StemOf = plain_stem) -> dict[str, Path]:
    """Images by stem, in the given order; messages say that they were found in a place.

    Raises:
        UserError: There is none, or some of one stem; one line for each such stem.
    """
    files: dict[str, Path] = {}
    faults = []
    for path in paths:
        if (stem := stem_of(path)) is None:
            continue
        if stem in files:
            both = f"{shown(files[stem].name)} and {shown(path.name)}"
            faults.append(f"{shown(place)}: two files of the same stem: {both}")
        files[stem] = path
    if not files:
        raise NoImage(f"{shown(place)}: holds no image ({', '.join(ENDINGS)})")
    if faults:
        raise UserError(*faults)
    return files


def find_subfolder(folder: Path, name: str) -> Path:
    """The folder in `folder` that is called `name`, but for case, hyphens, underscores and blanks.

    Raises:
        UserError: There is none, or more than one; the line says what there is.
    """
    found = children(folder, [name])
    if not found:
        raise UserError(f"{folder}: no folder {name} in it; {what_is_in(folder)}")
    return found[0]


def children(folder: Path, names: Iterable[str]) -> list[Path]:
    """The sub-folders that go by one of the names, in the order of the names.

    Raises:
        UserError: Two go by the same name.
    """
    there = subfolders(folder)
    chosen: list[Path] = []
    for name in names:
        found = [path for path in there if folder_key(path.name) == folder_key(name) and path not in chosen]
        if len(found) > 1:
            raise UserError(f"{folder}: cannot choose between {found[0].name} and {found[1].name}")
        chosen += found
    return chosen


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones.

    Raises:
        Absent: The folder cannot be listed.
    """
    return [folder / name for name in listed(folder) if os.path.isdir(folder / name)]


def listed(folder: Path) -> list[str]:
    """The names in a folder that are not hidden, sorted."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise Absent(f"{shown(folder)}: cannot be listed: {error.strerror}") from None


def what_is_in(folder: Path) -> str:
    """Which sub-folders there are, for messages."""
    names = [path.name for path in subfolders(folder)]
    return f"there are: {some_of(names, 20)}" if names else "it has no sub-folders"


def folder_key(name: str) -> str:
    """What is compared of a folder's name: VT5000-Train, vt5000_train and VT5000Train are one."""
    return re.sub(r"[-_ ]", "", name.lower())


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names, on one line, and how many more there are."""
    return ", ".join(map(shown, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def enumerated(names: Sequence[str]) -> str:
    """Some names in a sentence: `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
