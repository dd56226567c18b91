"""Which data sets lie in a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.catalog import FoundSet, look_up
from samsod.data.sources.families import FAMILIES, family_named
from samsod.data.sources.family import Family
from samsod.data.sources.folders import Absent, children, some_of, subfolders, what_is_in
from samsod.data.sources.layout import bears_name, find_layout
from samsod.data.sources.modalities import MODALITIES, role_of
from samsod.data.sources.wanted import ALL_PARTS, NoPlace
from samsod.utils.errors import UserError, collected

SEVERAL = 4
"""So many trees of one's own in a folder are perhaps the videos of one set."""


@dataclass
class Recognised:
    """What was found in a folder.

    Attributes:
        folders: The folders that were named, by modality.
        sets: The sets and parts of sets whose folders are all there.
        faults: One line for every set that is there and cannot be paired.
        notes: One line for every part of a set, and every folder, that was not recognised.
    """

    folders: Mapping[str, str] = field(default_factory=dict)
    sets: list[FoundSet] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recognise(root: Path, family_name: str = "", folders: Mapping[str, str] | None = None) -> Recognised:
    """Finds every set of the catalog in a folder as training would with `data.root` there, and other RGB/T/GT trees.

    The folder may also be a set itself, and those in it trees of one's own, which are families `folders`, `scribbles`
    and `videos`, with all the modalities that are there. Folders that each hold RGB, T and GT may be sets, and may be
    the videos of one: the folder itself is one of videos only when it is asked for.

    Args:
        root: The folder.
        family_name: The one family to look for; empty: all.
        folders: By modality, the folder of its images in every set; of those left out the usual names are tried.

    Raises:
        UserError: No such folder or family, or nothing was recognised.
    """
    if not os.path.isdir(root):
        raise UserError(f"{root}: no such folder")
    families = [family_named(family_name)] if family_name else list(FAMILIES.values())
    published = [family for family in families if family.folders]
    # With a folder for the labelled region beside it, what could be a mask is taken for strokes.
    own = sorted((family for family in families if not family.folders), key=lambda family: not family.scribbles)
    found = Recognised(folders or {})
    for family in published:
        _find_published(found, family, root, wanted=bool(family_name))
    itself = [family for family in own if family_name or not family.videos]
    if own and not _at_home(found, root) and not _find_own(found, itself, root):
        _find_own_below(found, own, root)
    deeper = [] if _at_home(found, root, published) else _deeper(found, published, root)
    if not found.sets and not found.faults:
        there = ", ".join(path.name for path in subfolders(root)[:20]) or "no folders"
        named = some_of([family.folders[0] for family in FAMILIES.values() if family.folders])
        what = f"no data set is recognised ({named}, or folders RGB, T and GT)"
        raise UserError(f"{root}: {what}; {'; '.join(deeper) or f'it holds {there}'}")
    found.notes += deeper
    return found


def _find_published(found: Recognised, family: Family, root: Path, wanted: bool) -> None:
    # The folder itself comes first where it has the set's name, and is looked at last where the set was asked for.
    itself = bears_name(root, family) and _looks_like_a_set(root, family)
    places = [str(root)] * itself + [""] + [str(root)] * (wanted and not itself)
    # Asked for this set alone, a folder of a modality it lacks is a mistake.
    folders = {name: folder for name, folder in found.folders.items() if wanted or name in family.modalities}
    configs = {
        split: [DatasetConfig(family.name, split, place, folders=folders) for place in places]
        for split in family.splits
    }
    tried = {split: _first_that_fits(configs[split], family, root, family.modalities) for split in family.splits}
    absent = {split: result for split, result in tried.items() if isinstance(result, Absent)}
    for config in tried.values():
        if isinstance(config, DatasetConfig):
            _add(found, config, root, family.modalities)
    found.faults += [str(fault) for fault in absent.values() if not isinstance(fault, NoPlace)]
    missing = {split: fault for split, fault in absent.items() if isinstance(fault, NoPlace)}
    if len(missing) < len(tried):
        found.notes += [f"{family.folders[0]}: the {split} part was not found" for split in missing]
    elif wanted or itself or any(bears_name(folder, family) for folder in subfolders(root)):
        found.faults.append(str(next(iter(missing.values()))))


def _looks_like_a_set(root: Path, family: Family) -> bool:
    """Whether a folder holds images or parts: a disk may be called SSD too."""
    names = [name for role in family.roles(family.modalities).values() for name in role.names]
    return bool(children(root, [*names, *ALL_PARTS]))


def _first_that_fits(
    configs: Sequence[DatasetConfig], family: Family, root: Path, modalities: Sequence[str]
) -> DatasetConfig | Absent:
    """The first config whose folders are all there, or why the first of all does not fit."""
    absent: list[Absent] = []
    for config in configs:
        try:
            find_layout(config, family, str(root), modalities)
            return config
        except Absent as fault:
            absent.append(fault)
        except UserError:
            return config  # to be met again, and reported, when its files are paired
    return absent[0]


def _find_own(found: Recognised, families: Sequence[Family], root: Path, least: int = 1) -> bool:
    """Adds the parts of a tree of one's own, if it has images of so many modalities."""
    name = root.resolve().name
    for family in families:
        configs = [
            DatasetConfig(family.name, split, str(root), name, folders=dict(found.folders)) for split in family.splits
        ]
        held = {config.split: _held(found, config, family, root) for config in configs}
        fitting = [config for config in configs if len(held[config.split]) >= least]
        fitting = [config for config in fitting if not _is_taken(found, config, family, held[config.split])]
        # With its parts below the folders of images, the whole seems to fit too.
        fitting = [config for config in fitting if config.split] or fitting
        for config in fitting:
            _add(found, config, root, held[config.split])
        if fitting and max(map(len, held.values())) == 1:
            called = role_of(held[fitting[0].split][0]).called
            found.notes.append(f"{name}: only {called}s were found; {what_is_in(root)}")
        if fitting:
            return True
    return False


def _is_taken(found: Recognised, config: DatasetConfig, family: Family, modalities: Sequence[str]) -> bool:
    """Whether it is one of the sets found, which may stand in a folder that has the name of its part alone."""
    taken = {path for one in found.sets for path in one.layout.folders.values()}
    try:
        return not taken.isdisjoint(find_layout(config, family, "", modalities).folders.values())
    except UserError:
        return False  # to be met again, and reported


def _held(found: Recognised, config: DatasetConfig, family: Family, root: Path) -> list[str]:
    """The modalities that a tree of one's own, or a part of it, has images of; none if a named folder is not there."""
    tried = {}
    for name in dict.fromkeys([*MODALITIES, *found.folders]):
        folders = {name: found.folders[name]} if name in found.folders else {}
        tried[name] = _first_that_fits([replace(config, folders=folders)], family, root, [name])
    held = [name for name, result in tried.items() if isinstance(result, DatasetConfig)]
    return held if set(found.folders) <= set(held) else []


def _find_own_below(found: Recognised, families: Sequence[Family], root: Path) -> None:
    before = len(found.sets)
    taken = [path for one in found.sets for path in one.layout.folders.values()]
    for folder in subfolders(root):
        known = any(bears_name(folder, family) for family in FAMILIES.values())
        # Beside other sets, images and masks alone may be anything.
        if known or any(path.is_relative_to(folder) for path in taken) or _find_own(found, families, folder, least=2):
            continue
        config = DatasetConfig("folders", root=str(folder), folders=dict(found.folders))
        why = _first_that_fits([config], FAMILIES["folders"], root, list(dict.fromkeys(["rgb", *found.folders])))
        alone = f"folders: images of one modality alone in {folder}: give it as the root if it is one"
        found.notes.append(f"not taken for a data set: {alone if isinstance(why, DatasetConfig) else why}")
    if len(found.sets) - before >= SEVERAL and all(one.family.name == "folders" for one in found.sets[before:]):
        found.notes.append(f"if the {len(found.sets) - before} trees are the videos of one set, ask for --set videos")


def _add(found: Recognised, config: DatasetConfig, root: Path, modalities: Sequence[str]) -> None:
    with collected(found.faults):
        one = look_up(config, str(root), modalities)
        found.sets.append(one)
        if one.unlabelled:
            found.notes.append(f"{one.label}: {one.unlabelled} frames without a mask are passed over")


def _at_home(found: Recognised, root: Path, families: Sequence[Family] = ()) -> bool:
    """Whether the folder itself is one of the sets found, of these families where some are named."""
    return any(one.layout.root == root and (not families or one.family in families) for one in found.sets)


def _deeper(found: Recognised, published: Sequence[Family], root: Path) -> list[str]:
    """What to say of folders of which nothing published was found, but which hold published sets, as archives may."""
    taken = [path for one in found.sets if one.family in published for path in one.layout.folders.values()]
    hints = []
    for folder in subfolders(root):
        if any(path.is_relative_to(folder) for path in taken):
            continue
        inside = Recognised()
        with contextlib.suppress(UserError):
            for family in published:
                _find_published(inside, family, folder, wanted=False)
        names = [*dict.fromkeys(one.whole.name for one in inside.sets)]
        if names:
            hints.append(f"{folder} holds {some_of(names)}: give it as the root")
    return hints
