"""How a data set lies on disk: which folders hold the images of its modalities and its masks or scribbles.

The part (Train, Test) may stand below or above the folder of images, above the set's, or in its name. Names are
compared without regard to case, hyphens, underscores and blanks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.family import Family
from samsod.data.sources.folders import Absent, children, enumerated, folder_key, what_is_in
from samsod.data.sources.modalities import MODALITIES, role_of
from samsod.data.sources.videos import find_videos
from samsod.data.sources.wanted import (
    ALL_PARTS,
    Layout,
    NoPlace,
    Wanted,
    has_any_role,
    is_part,
    joined,
    no_part,
    part_below,
    role_folders,
)
from samsod.utils.errors import UserError, nearest
from samsod.utils.files import expanded


def find_layout(config: DatasetConfig, family: Family, data_root: str, modalities: Sequence[str]) -> Layout:
    """Finds the folders of a set.

    Looked at are `config.root`, or under `data_root` in this order VT5000, VT5000-Train and Train/VT5000, for all the
    names the set has in the wild; and in each a folder of the set's name once more, as unpacking archives leaves it.
    The first that holds all folders of images counts.

    Args:
        config: The set; its `folders`, `ground_truth` and `labelled` replace the usual names of these folders.
        family: The family it names.
        data_root: Folder that holds the data sets.
        modalities: What images are wanted; the first is the reference.

    Raises:
        Absent: No such folder; the line says what was looked for and what there is.
        UserError: The set has no images of a modality, or two folders differ in case alone.
    """
    wanted = Wanted(config, family, family.roles(modalities))
    _check_names(config, [*modalities, *(family.modalities or MODALITIES)])
    faults = []
    for place in _places(wanted, data_root):
        for root in (place, *children(place, family.folders)):
            try:
                return _layout(wanted, root)
            except Absent as fault:
                faults.append(fault)
    raise faults[0]


def bears_name(folder: Path, family: Family) -> bool:
    """Whether a folder goes by one of the names of a published set, with or without its part, but not the part's."""
    names = [*family.folders, *joined(family.folders, ALL_PARTS)]
    return folder_key(folder.resolve().name) in {folder_key(name) for name in names}.difference(ALL_PARTS)


def _check_names(config: DatasetConfig, known: Sequence[str]) -> None:
    for name in config.folders:
        if name not in known:
            raise UserError(f"{config.family}: folders.{name}: no modality is called so{nearest(name, known)}")


def _places(wanted: Wanted, data_root: str) -> list[Path]:
    """Where the set may lie; at least one place."""
    config, family = wanted.config, wanted.family
    if config.root:
        root = expanded(config.root)
        if not os.path.isdir(root):
            raise Absent(f"{config.family}: no such folder: {root}")
        return [root]
    if all(map(wanted.says_where, wanted.roles)):
        return [wanted.folder(wanted.reference).parent]
    if not family.folders:
        held = [f"{role.called}s" for role in wanted.roles.values()]
        where = "the videos" if family.videos else f"those of the {enumerated(held)}"
        raise Absent(f"{config.family}: set root to the folder that holds {where}")
    parent = expanded(data_root)
    if not os.path.isdir(parent):
        raise Absent(f"{config.family}: data.root is no folder: {parent}")
    places = list(_under(parent, wanted))
    if not places:
        raise NoPlace(
            f"{config.family}: no folder {' or '.join(family.folders)} in {parent}; {what_is_in(parent)}; "
            "or set root to where it lies"
        )
    return places


def _under(parent: Path, wanted: Wanted) -> Iterator[Path]:
    names = wanted.family.folders
    for place in children(parent, names):
        if folder_key(place.name) not in ALL_PARTS or _holds_what_it_has(place, wanted.family):
            yield place
    yield from children(parent, joined(names, wanted.parts))
    for part in children(parent, wanted.parts):
        yield from children(part, names)


def _holds_what_it_has(folder: Path, family: Family) -> bool:
    """Whether a folder holds images of all the family's modalities and of no other that is known by name.

    A folder that is named after its part alone, as TrainDataset is, may be anyone's.
    """
    held = [name for name in {*MODALITIES, *family.modalities} if children(folder, role_of(name).names)]
    return set(held) == set(family.modalities)


def _layout(wanted: Wanted, root: Path) -> Layout:
    if wanted.family.videos:
        place, videos = find_videos(wanted, root)
        return Layout(root, dict.fromkeys(wanted.roles, place), videos)
    return Layout(root, _folders(wanted, root) if wanted.config.split else _whole(wanted, root), {})


def _folders(wanted: Wanted, root: Path) -> dict[str, Path]:
    """The folders of a part."""
    above = part_below(wanted, root)
    if above is not None:
        return role_folders(wanted, above)
    is_it = is_part(wanted, root)
    if not is_it and not has_any_role(wanted, root):
        raise no_part(wanted, root)
    folders = role_folders(wanted, root)
    below = {role: next(iter(children(folder, wanted.parts)), None) for role, folder in folders.items()}
    found = {role: folder for role, folder in below.items() if folder is not None}
    # train_images says it in its own name.
    told = {
        role
        for role, folder in folders.items()
        if wanted.says_where(role) or folder_key(folder.name).startswith(wanted.config.split)
    }
    shared = {"ground_truth"} if wanted.family.shared_masks and found else set()
    lacking = [role for role in folders if role not in {*found, *told, *shared}]
    if not lacking or (not found and is_it):
        return {**folders, **found}
    raise no_part(wanted, folders[lacking[0]] if found else root)


def _whole(wanted: Wanted, root: Path) -> dict[str, Path]:
    """The folders of a set without parts; of a published one they may still lie in a folder Train or Test."""
    try:
        return role_folders(wanted, root)
    except Absent:
        parts = children(root, wanted.parts) if len(wanted.family.splits) == 1 else []
        if len(parts) != 1:
            raise
    return role_folders(wanted, parts[0])
