"""Which files of a set's folders belong together: by stem, the file's name without its ending, never by order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from samsod.data.sources.folders import ENDINGS, images_by_stem, some_of
from samsod.data.sources.layout import Layout
from samsod.data.sources.modalities import Role
from samsod.utils.errors import UserError, about, shown
from samsod.utils.files import expanded

Files = Mapping[str, Path]


class Unmatched(NamedTuple):
    """A file without a partner; or a list file, for a stem that the reference has no image of.

    Attributes:
        stem: The stem.
        path: The file.
        called: What it has no partner of.
        folder: Where that was looked for.
    """

    stem: str
    path: Path
    called: str
    folder: Path

    def __str__(self) -> str:
        """One line for this file alone."""
        which = "that stem" if self.source == self.path.parent else f"the stem {shown(self.stem)}"
        return f"{shown(self.path)}: no {self.called} of {which} in {shown(self.folder)}"

    @property
    def source(self) -> Path:
        """The folder the stem was found in, or the list file that names it."""
        return self.path.parent if self.path.suffix.lower() in ENDINGS else self.path


class Pairing(NamedTuple):
    """The stems that have a file in every folder, with these files by role; and what is left over."""

    whole: Mapping[str, Files]
    unmatched: tuple[Unmatched, ...]


def pair_files(layout: Layout, roles: Mapping[str, Role], list_file: str) -> Pairing:
    """Pairs the images of a set's folders.

    Args:
        layout: The folders; the first holds the reference's images, which all others are partners of.
        roles: What they hold.
        list_file: Text file with one stem a line, as given or in the set's folder; empty: all stems, sorted.

    Raises:
        UserError: A folder without images, two files of one stem, or a list file that cannot be used.
    """
    files = {role: images_by_stem(folder) for role, folder in layout.folders.items()}
    source = _list_path(list_file, layout.root) if list_file else None
    stems = _listed(source, next(iter(files.values()))) if source else ()
    return match(files, roles, layout.folders, stems, source)


def match(
    files: Mapping[str, Files],
    roles: Mapping[str, Role],
    places: Mapping[str, Path],
    stems: Sequence[str] = (),
    source: Path | None = None,
) -> Pairing:
    """Pairs files by stem.

    Args:
        files: By role the files by stem, the reference's first.
        roles: What they are.
        places: Where they were looked for, for messages.
        stems: Which are wanted, and in what order; empty: all, sorted.
        source: The list file that names the stems, if one does; what it does not name needs no partner.
    """
    first, images = next(iter(files.items()))
    stems = stems or sorted(images)
    unmatched = []
    if source:
        unmatched += [(stem, source, first) for stem in stems if stem not in images]
    for role, partners in files.items():
        unmatched += [(stem, images[stem], role) for stem in stems if stem in images and stem not in partners]
    for partners in files.values() if not source else ():
        unmatched += [(stem, partners[stem], first) for stem in sorted(partners.keys() - images.keys())]
    whole = [stem for stem in stems if all(stem in partners for partners in files.values())]
    return Pairing(
        {stem: {role: partners[stem] for role, partners in files.items()} for stem in whole},
        tuple(Unmatched(stem, path, roles[role].called, places[role]) for stem, path, role in unmatched),
    )


def summarise(unmatched: Sequence[Unmatched]) -> Iterator[str]:
    """One line for all that was found in one place and lacks the same, however many they are."""
    for (source, called, folder), group in groupby(unmatched, lambda one: (one.source, one.called, one.folder)):
        lacking = list(group)
        if len(lacking) == 1:
            yield str(lacking[0])
        else:
            what = "files" if lacking[0].path != source else "stems"
            stems = [one.stem for one in lacking]
            yield f"{source}: {len(lacking)} {what} have no {called} in {folder}: {some_of(stems)}"


def _list_path(list_file: str, root: Path) -> Path:
    path = next((p for p in (expanded(list_file), root / list_file) if os.path.isfile(p)), None)
    if path is None:
        raise UserError(f"{list_file}: no such list file, here or in {root}")
    return path


def lines_of(path: Path) -> list[str]:
    """The lines of a list file that are not empty.

    Raises:
        UserError: It cannot be read as text.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise about(path, "the list file is not a text file") from None
    except OSError as error:
        raise about(path, f"the list file cannot be read: {error.strerror}") from None
    return [line for line in lines if line]


def _listed(path: Path, known: Files) -> list[str]:
    """The stems a list file names, in its order."""
    stems = [_as_stem(line, known) for line in lines_of(path)]
    if not stems:
        raise UserError(f"{path}: the list file names no stem")
    doubled = [stem for stem, count in Counter(stems).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: named twice: {some_of(doubled)}")
    return stems


def _as_stem(line: str, known: Collection[str]) -> str:
    """Lists in the wild name files too."""
    stem, ending = os.path.splitext(line)
    return stem if line not in known and ending.lower() in ENDINGS else line
