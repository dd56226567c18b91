"""What is looked for of a data set, and how the folders of its parts and of its images are told by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.family import Family
from samsod.data.sources.folders import Absent, children, folder_key, what_is_in
from samsod.data.sources.modalities import Role
from samsod.utils.files import expanded

# Written as `folder_key` writes them.
PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainingset", "traindataset", "traindata", "rgbdfortrain"),
    "test": ("test", "testing", "testset", "testingset", "testdataset", "testdata", "rgbdfortest"),
}
ALL_PARTS = (*PARTS["test"], *PARTS["train"])


class Wanted(NamedTuple):
    """What is looked for: the set, its family, and what its folders hold, the reference's first."""

    config: DatasetConfig
    family: Family
    roles: Mapping[str, Role]

    @property
    def reference(self) -> str:
        """The modality that pairs are made from."""
        return next(iter(self.roles))

    @property
    def parts(self) -> Sequence[str]:
        """How the folder of the part may be called; of a set without parts, that of any."""
        return PARTS[self.config.split] if self.config.split else ALL_PARTS

    def folder(self, role: str) -> Path:
        """The folder the config names, or the empty path."""
        named = {"ground_truth": self.config.ground_truth, "labelled": self.config.labelled, **self.config.folders}
        return expanded(named.get(role, ""))

    def says_where(self, role: str) -> bool:
        """Whether the config says by a full path where the folder is."""
        return self.folder(role).is_absolute()

    def names(self, role: str) -> Sequence[str]:
        """How the folder of a role may be called: as the config says, or as is usual, then with the part before it."""
        if self.folder(role) != Path():
            return (str(self.folder(role)),)
        usual = self.roles[role].names
        return (*usual, *joined([self.config.split], usual)) if self.config.split else usual


class Layout(NamedTuple):
    """Where a set lies.

    Attributes:
        root: Its folder.
        folders: The folders of its images by modality, of its masks and its strokes; of a set of videos, where these
            lie.
        videos: Of a set of videos by name, the folders of each.
    """

    root: Path
    folders: Mapping[str, Path]
    videos: Mapping[str, Mapping[str, Path]]


class NoPlace(Absent):
    """The data sets' folder holds none that goes by the set's name, or the set's none of the part."""


def no_part(wanted: Wanted, place: Path, lists: str = "") -> NoPlace:
    """What to say of a place that does not hold the part; `lists` are the files that could have listed it."""
    split = wanted.config.split
    or_list = f", and no list {lists} of its videos" if lists else ""
    return NoPlace(
        f"{wanted.config.family}: no folder {split} in {place}{or_list}; {what_is_in(place)}; a folder that holds "
        f"the {split} part alone must have {split!r} in its name"
    )


def role_folders(wanted: Wanted, base: Path) -> dict[str, Path]:
    """The folders of all roles in a folder.

    Raises:
        Absent: One is not there.
    """
    return {role: _role_folder(wanted, base, role) for role in wanted.roles}


def _role_folder(wanted: Wanted, base: Path, role: str) -> Path:
    config, family, explicit = wanted.config, wanted.family, wanted.folder(role)
    if explicit != Path() and os.path.isdir(base / explicit):
        return base / explicit
    if explicit.is_absolute():
        raise Absent(f"{config.family}: no such folder: {explicit}")
    found = children(base, wanted.names(role))
    if found:
        return found[0]
    parted = not config.split and any(children(base, parts) for parts in PARTS.values())
    tried = (str(explicit),) if explicit != Path() else wanted.roles[role].names
    raise Absent(
        f"{config.family}: no folder of {wanted.roles[role].called}s in {base}; looked for {', '.join(tried)}; "
        f"{what_is_in(base)}{'; or set split to train or test' if parted and len(family.splits) > 1 else ''}"
    )


def has_any_role(wanted: Wanted, folder: Path) -> bool:
    """Whether a folder holds that of any role, or the config names one."""
    return any(wanted.folder(role) != Path() or children(folder, wanted.names(role)) for role in wanted.roles)


def part_below(wanted: Wanted, root: Path) -> Path | None:
    """The folder of the part in a set's folder; where it stands in one of its name, as unpacking leaves it, the inner.

    The inner one counts where it looks like a part: it holds the reference's folder, or as a set of videos does not.
    """
    names = joined(wanted.family.folders, wanted.parts)
    part = next(iter([*children(root, wanted.parts), *children(root, names)]), None)
    again = children(part, wanted.parts) if part else []
    if again and bool(children(again[0], wanted.names(wanted.reference))) != wanted.family.videos:
        return again[0]
    return part


def is_part(wanted: Wanted, root: Path) -> bool:
    """Whether the folder is the part already, such as VT5000-Train or Train/VT5000.

    Without such a name it is not taken for one: `split: train` and `split: test` would give the same images.
    """
    folder, parts = root.resolve(), wanted.parts
    own = {folder_key(folder.name), *re.split(r"[-_ ]", folder.name.lower())}
    above = folder_key(folder.parent.name)
    both = {folder_key(name) for name in joined(wanted.family.folders, parts)}
    if own.isdisjoint(ALL_PARTS) and both.isdisjoint(own):
        return above in parts or above in both
    return not own.isdisjoint((*parts, *both))


def joined(first: Iterable[str], second: Sequence[str]) -> list[str]:
    """Every one of the first with every one of the second after it."""
    return [one + other for one in first for other in second]
