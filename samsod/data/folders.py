"""Folders of images: their files by stem, and sub-folders by names that differ in writing only."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from samsod.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, in the order of their names; other files and hidden ones are passed over.

    Raises:
        UserError: The folder holds no image, or some of one stem; one line for each such stem.
    """
    files: dict[str, Path] = {}
    faults = []
    for name in sorted(entry.name for entry in os.scandir(folder) if entry.is_file()):
        stem, ending = os.path.splitext(name)
        if name.startswith(".") or ending.lower() not in ENDINGS:
            continue
        if stem in files:
            faults.append(f"{folder}: two files of the same stem: {files[stem].name} and {name}")
        files[stem] = folder / name
    if not files:
        faults.append(f"{folder}: holds no image ({', '.join(ENDINGS)})")
    if faults:
        raise UserError("\n".join(faults))
    return files


def find_subfolder(folder: Path, name: str) -> Path:
    """The folder in `folder` that is called `name`, but for case, hyphens, underscores and blanks.

    Raises:
        UserError: There is none, or more than one; the line says what there is.
    """
    there = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [path for path in there if folder_key(path.name) == folder_key(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{folder}: cannot choose between {found[0].name} and {found[1].name}")
    names = f"there are: {some_of([path.name for path in there], 20)}" if there else "it has no sub-folders"
    raise UserError(f"{folder}: no folder {name} in it; {names}")


def folder_key(name: str) -> str:
    """What is compared of a folder's name: VT5000-Train, vt5000_train and VT5000Train are one."""
    return re.sub(r"[-_ ]", "", name.lower())


def some_of(names: Sequence[str], shown: int = 5) -> str:
    """The first few of many names, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
