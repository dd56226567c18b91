"""How a data set lies on disk: which folders hold its RGB images, its thermal images and its masks.

The part (Train, Test) may stand below or above the modality's folder, above the set's, or in its name. Names are
compared without regard to case, hyphens, underscores and blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from samsod.config import DatasetConfig
from samsod.errors import UserError

# In the order of preference, and written as `_key` writes them.
MODALITIES: Mapping[str, tuple[str, ...]] = {
    "rgb": ("rgb", "img", "imgs", "image", "images", "visible", "vis"),
    "thermal": ("t", "thermal", "th", "ir", "infrared", "depth", "depths", "d"),
    "ground_truth": ("gt", "mask", "masks", "groundtruth", "label", "labels", "annotation", "annotations"),
}
PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset"),
    "test": ("test", "testing", "testset"),
}
CALLED = {"rgb": "RGB image", "thermal": "thermal image", "ground_truth": "mask"}


def find_root(config: DatasetConfig, set_names: Sequence[str], data_root: str) -> Path:
    """The set's folder: `config.root`, or one of VT5000, VT5000-Train and Train/VT5000 under `data_root`.

    Args:
        config: The set; its part decides which of the latter two are looked for.
        set_names: Names the set's folder has in the wild.
        data_root: Folder that holds the data sets.

    Raises:
        UserError: No such folder; the line says what was looked for and what there is.
    """
    if config.root:
        root = Path(config.root).expanduser()
        if not root.is_dir():
            raise UserError(f"{config.family}: no such folder: {root}")
        return root
    if not set_names:
        raise UserError(f"{config.family}: set root to the folder that holds the RGB, thermal and truth folders")
    parent = Path(data_root).expanduser()
    if not parent.is_dir():
        raise UserError(f"{config.family}: data.root is no folder: {parent}")
    found = _under(parent, set_names, PARTS[config.split] if config.split else (*PARTS["test"], *PARTS["train"]))
    if found is None:
        raise UserError(
            f"{config.family}: no folder {' or '.join(set_names)} in {parent}; {_there(parent)}; "
            "or set root to where it lies"
        )
    return found


def find_folders(config: DatasetConfig, set_names: Sequence[str], root: Path) -> dict[str, Path]:
    """The folders of the images, by modality (`rgb`, `thermal`, `ground_truth`).

    Args:
        config: The set; its `rgb`, `thermal` and `ground_truth` replace the usual names of these folders.
        set_names: Names the set's folder has in the wild.
        root: The set's folder.

    Raises:
        UserError: No such folder; the line says what was looked for and what there is.
    """
    if not config.split:
        return _modality_folders(config, root)
    parts = PARTS[config.split]
    above = _child(root, parts) or _child(root, _joined(set_names, parts))
    if above is not None:
        return _modality_folders(config, above)
    folders = _modality_folders(config, root)
    below = {modality: _child(folder, parts) for modality, folder in folders.items()}
    found = {modality: folder for modality, folder in below.items() if folder is not None}
    if len(found) == len(folders):
        return found
    if not found and _is_part(root, set_names, parts):
        return folders
    lacking = next(folder for modality, folder in folders.items() if modality not in found) if found else root
    raise UserError(
        f"{config.family}: no folder {config.split} in {lacking}; {_there(lacking)}; a folder that holds "
        f"the {config.split} part alone must have {config.split!r} in its name"
    )


def _under(parent: Path, set_names: Sequence[str], parts: Sequence[str]) -> Path | None:
    found = _child(parent, set_names) or _child(parent, _joined(set_names, parts))
    above = None if found else _child(parent, parts)
    return _child(above, set_names) if above else found


def _modality_folders(config: DatasetConfig, base: Path) -> dict[str, Path]:
    return {modality: _modality_folder(config, base, modality) for modality in MODALITIES}


def _modality_folder(config: DatasetConfig, base: Path, modality: str) -> Path:
    explicit: str = getattr(config, modality)
    if explicit and (base / explicit).is_dir():
        return base / explicit
    names = (explicit,) if explicit else MODALITIES[modality]
    folder = _child(base, names)
    if folder is None:
        parted = not config.split and any(_child(base, parts) for parts in PARTS.values())
        raise UserError(
            f"{config.family}: no folder of {CALLED[modality]}s in {base}; looked for {', '.join(names)}; "
            f"{_there(base)}{'; or set split to train or test' if parted else ''}"
        )
    return folder


def _is_part(root: Path, set_names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the folder is one part already, such as VT5000-Train or Train/VT5000.

    Without such a name it is not taken for one: `split: train` and `split: test` would give the same images.
    """
    names = root.resolve().parts[-2:]
    words = {word for name in names for word in re.split(r"[-_ ]", name.lower())}
    own = {_key(name) for name in _joined(set_names, parts)}
    return not words.isdisjoint(parts) or not own.isdisjoint(_key(name) for name in names)


def _joined(set_names: Sequence[str], parts: Sequence[str]) -> list[str]:
    return [name + part for name in set_names for part in parts]


def _key(name: str) -> str:
    """What is compared of a folder's name: VT5000-Train, vt5000_train and VT5000Train are one."""
    return re.sub(r"[-_ ]", "", name.lower())


def _child(folder: Path, names: Iterable[str]) -> Path | None:
    """The sub-folder that goes by the first of the names any goes by."""
    there = _subfolders(folder)
    for name in names:
        found = [path for path in there if _key(path.name) == _key(name)]
        if len(found) > 1:
            raise UserError(f"{folder}: cannot choose between {found[0].name} and {found[1].name}")
        if found:
            return found[0]
    return None


def _there(folder: Path) -> str:
    names = [path.name for path in _subfolders(folder)]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"there are: {', '.join(names[:20])}{more}" if names else "it has no sub-folders"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
