"""How a data set lies on disk: which folders hold the images of its modalities and its masks or scribbles.

The part (Train, Test) may stand below or above the folder of images, above the set's, or in its name. Names are
compared without regard to case, hyphens, underscores and blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.families import Family
from samsod.data.sources.folders import children, enumerated, folder_key, what_is_in
from samsod.data.sources.modalities import MODALITIES, Role
from samsod.utils.errors import UserError, nearest
from samsod.utils.files import expanded

# Written as `folder_key` writes them.
PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainingset", "traindataset", "traindata", "rgbdfortrain"),
    "test": ("test", "testing", "testset", "testingset", "testdataset", "testdata", "rgbdfortest"),
}
_ALL_PARTS = (*PARTS["test"], *PARTS["train"])


class Layout(NamedTuple):
    """Where a set lies: its folder, and the folders of its images by modality, of its masks and its strokes."""

    root: Path
    folders: Mapping[str, Path]


class Wanted(NamedTuple):
    """What is looked for: the set, its family, and what its folders hold, the reference's first."""

    config: DatasetConfig
    family: Family
    roles: Mapping[str, Role]

    @property
    def reference(self) -> str:
        """The modality that pairs are made from."""
        return next(iter(self.roles))

    def folder(self, role: str) -> Path:
        """The folder the config names, or the empty path."""
        named = {"ground_truth": self.config.ground_truth, "labelled": self.config.labelled, **self.config.folders}
        return expanded(named.get(role, ""))

    def says_where(self, role: str) -> bool:
        """Whether the config says by a full path where the folder is."""
        return self.folder(role).is_absolute()


class Absent(UserError):
    """A folder that was looked for is not there."""


class NoPlace(Absent):
    """The data sets' folder holds none that goes by the set's name, or the set's none of the part."""


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
                return Layout(root, _folders(wanted, root))
            except Absent as fault:
                faults.append(fault)
    raise faults[0]


def bears_name(folder: Path, family: Family) -> bool:
    """Whether a folder goes by one of the names of a published set, with or without its part, but not the part's."""
    names = [*family.folders, *_joined(family.folders, _ALL_PARTS)]
    return folder_key(folder.resolve().name) in {folder_key(name) for name in names}.difference(_ALL_PARTS)


def _check_names(config: DatasetConfig, known: Sequence[str]) -> None:
    for name in config.folders:
        if name not in known:
            raise UserError(f"{config.family}: folders.{name}: no modality is called so{nearest(name, known)}")


def _places(wanted: Wanted, data_root: str) -> list[Path]:
    """Where the set may lie; at least one place."""
    config, family = wanted.config, wanted.family
    if config.root:
        root = expanded(config.root)
        if not root.is_dir():
            raise Absent(f"{config.family}: no such folder: {root}")
        return [root]
    if all(map(wanted.says_where, wanted.roles)):
        return [wanted.folder(wanted.reference).parent]
    if not family.folders:
        held = [f"{role.called}s" for role in wanted.roles.values()]
        raise Absent(f"{config.family}: set root to the folder that holds those of the {enumerated(held)}")
    parent = expanded(data_root)
    if not parent.is_dir():
        raise Absent(f"{config.family}: data.root is no folder: {parent}")
    places = list(_under(parent, wanted))
    if not places:
        raise NoPlace(
            f"{config.family}: no folder {' or '.join(family.folders)} in {parent}; {what_is_in(parent)}; "
            "or set root to where it lies"
        )
    return places


def _under(parent: Path, wanted: Wanted) -> Iterator[Path]:
    names, parts = wanted.family.folders, _parts_of(wanted.config)
    images = wanted.roles[wanted.reference].names
    # A folder that is named after its part alone is the set's only when the images lie in it.
    named = children(parent, names)
    yield from (place for place in named if folder_key(place.name) not in _ALL_PARTS or children(place, images))
    yield from children(parent, _joined(names, parts))
    for part in children(parent, parts):
        yield from children(part, names)


def _folders(wanted: Wanted, root: Path) -> dict[str, Path]:
    config, names = wanted.config, wanted.family.folders
    if not config.split:
        return _whole(wanted, root)
    parts = PARTS[config.split]
    above = next(iter([*children(root, parts), *children(root, _joined(names, parts))]), None)
    if above is not None:
        return _role_folders(wanted, above)
    is_part = _is_part(root, names, parts)
    roles = wanted.roles.items()
    if not is_part and not any(wanted.folder(name) != Path() or children(root, role.names) for name, role in roles):
        raise _no_part(config, root)
    folders = _role_folders(wanted, root)
    below = {role: next(iter(children(folder, parts)), None) for role, folder in folders.items()}
    found = {role: folder for role, folder in below.items() if folder is not None}
    lacking = [role for role in folders if role not in found and not wanted.says_where(role)]
    if not lacking or (not found and is_part):
        return {**folders, **found}
    raise _no_part(config, folders[lacking[0]]) if found else _no_part(config, root)


def _no_part(config: DatasetConfig, place: Path) -> NoPlace:
    return NoPlace(
        f"{config.family}: no folder {config.split} in {place}; {what_is_in(place)}; a folder that holds "
        f"the {config.split} part alone must have {config.split!r} in its name"
    )


def _whole(wanted: Wanted, root: Path) -> dict[str, Path]:
    """The folders of a set without parts; of a published one they may still lie in a folder Train or Test."""
    try:
        return _role_folders(wanted, root)
    except Absent:
        parts = children(root, _parts_of(wanted.config)) if len(wanted.family.splits) == 1 else []
        if len(parts) != 1:
            raise
    return _role_folders(wanted, parts[0])


def _role_folders(wanted: Wanted, base: Path) -> dict[str, Path]:
    return {role: _role_folder(wanted, base, role) for role in wanted.roles}


def _role_folder(wanted: Wanted, base: Path, role: str) -> Path:
    config, family, explicit = wanted.config, wanted.family, wanted.folder(role)
    named = explicit != Path()
    if named and (base / explicit).is_dir():
        return base / explicit
    if explicit.is_absolute():
        raise Absent(f"{config.family}: no such folder: {explicit}")
    called, usual = wanted.roles[role]
    names = (str(explicit),) if named else usual
    found = children(base, names)
    if found:
        return found[0]
    parted = not config.split and any(children(base, parts) for parts in PARTS.values())
    raise Absent(
        f"{config.family}: no folder of {called}s in {base}; looked for {', '.join(names)}; "
        f"{what_is_in(base)}{'; or set split to train or test' if parted and len(family.splits) > 1 else ''}"
    )


def _parts_of(config: DatasetConfig) -> Sequence[str]:
    return PARTS[config.split] if config.split else _ALL_PARTS


def _is_part(root: Path, set_names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the folder is one part already, such as VT5000-Train or Train/VT5000.

    Without such a name it is not taken for one: `split: train` and `split: test` would give the same images.
    """
    folder = root.resolve()
    own = {folder_key(folder.name), *re.split(r"[-_ ]", folder.name.lower())}
    above = folder_key(folder.parent.name)
    joined = {folder_key(name) for name in _joined(set_names, parts)}
    if own.isdisjoint(_ALL_PARTS) and joined.isdisjoint(own):
        return above in parts or above in joined
    return not own.isdisjoint((*parts, *joined))


def _joined(set_names: Sequence[str], parts: Sequence[str]) -> list[str]:
    return [name + part for name in set_names for part in parts]
