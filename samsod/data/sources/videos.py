"""The folders of a set of videos: each holds, as a set of images does, a folder for every modality and the masks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from samsod.data.sources.folders import Absent, children, some_of, subfolders, what_is_in
from samsod.data.sources.pairing import lines_of
from samsod.data.sources.wanted import Wanted, is_part, no_part, part_below, role_folders
from samsod.utils.errors import UserError

LISTS: Mapping[str, tuple[str, ...]] = {"train": ("train.txt",), "test": ("test.txt", "test_all.txt")}
"""Files beside the videos of all parts that may say, one name a line, which are of a part."""
HOLDERS = ("data", "videos")
"""Folders that the videos may stand in, in the set's."""


def find_videos(wanted: Wanted, root: Path) -> tuple[Path, dict[str, dict[str, Path]]]:
    """The videos of a set or its part, in the folder of either.

    Returns:
        The folder that holds them, and by name the folders of each by role.

    Raises:
        Absent: The part is not there, or no video, or one lacks a folder.
        UserError: A list names a video that is not there, or the config names folders by full paths.
    """
    for role in wanted.roles:
        if wanted.says_where(role):
            raise UserError(f"{wanted.config.family}: {wanted.folder(role)}: name only what it is called in each video")
    place, source = _part(wanted, root)
    place = next((holder for holder in children(place, HOLDERS) if not _is_video(wanted, holder)), place)
    there = {folder.name: folder for folder in subfolders(place)}
    names = lines_of(source) if source else [name for name, folder in there.items() if _is_video(wanted, folder)]
    if gone := [name for name in names if name not in there]:
        raise UserError(f"{source}: {len(gone)} of its {len(names)} videos are not in {place}: {some_of(gone)}")
    if not names:
        called = wanted.names(wanted.reference)
        raise Absent(
            f"{wanted.config.family}: no video in {place}: no folder that holds one of {', '.join(called)}; "
            f"{what_is_in(place)}"
        )
    return place, {name: role_folders(wanted, there[name]) for name in names}


def _part(wanted: Wanted, root: Path) -> tuple[Path, Path | None]:
    """The folder of the part, and where all parts lie together, the list of its videos."""
    split = wanted.config.split
    below = part_below(wanted, root) if split else None
    if below is not None and not _is_video(wanted, below):
        return below, None
    source = next((root / name for name in LISTS.get(split, ()) if os.path.isfile(root / name)), None)
    if split and source is None and not is_part(wanted, root):
        raise no_part(wanted, root, " or ".join(LISTS[split]))
    return root, source


def _is_video(wanted: Wanted, folder: Path) -> bool:
    return bool(children(folder, wanted.names(wanted.reference)))
