"""Which files of a set's folders belong together: by stem, the file's name without its ending, never by order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from samsod.data.sources.folders import ENDINGS, images_by_stem, some_of
from samsod.data.sources.modalities import Role
from samsod.data.sources.wanted import Layout
from samsod.utils.errors import UserError, about, shown
from samsod.utils.files import expanded

Files = Mapping[str, Path]


class Unmatched(NamedTuple):
    """A file without a partner; or a list file, for a stem that the reference has no image of.

    The partner is `called` so, and was looked for in `folder`.
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
    """What belongs together.

    Attributes:
        whole: The stems that have a file in every folder, with these files by role.
        unmatched: What is left over.
        unlabelled: How many frames of videos were passed over, as they have no mask.
    """

    whole: Mapping[str, Files]
    unmatched: tuple[Unmatched, ...]
    unlabelled: int = 0


def pair_files(layout: Layout, roles: Mapping[str, Role], list_file: str, shared_masks: bool = False) -> Pairing:
    """Pairs the images of a set's folders.

    Args:
        layout: The folders; the first holds the reference's images, which all others are partners of.
        roles: What they hold.
        list_file: Text file with one stem a line (or the name of a video, for all its frames), as given or in the set's
            folder; empty: all stems, sorted.
        shared_masks: Whether masks without an image are those of other parts.

    Raises:
        UserError: A folder without images, two files of one stem, or a list file that cannot be used.
    """
    source = _list_path(list_file, layout.root) if list_file else None
    if layout.videos:
        return _pair_frames(layout, roles, source)
    stored = {role: images_by_stem(folder) for role, folder in layout.folders.items()}
    first, images = next(iter(stored.items()))
    files = {role: _renamed(partners, roles[role], images) for role, partners in stored.items()}
    if shared_masks:
        files["ground_truth"] = {stem: path for stem, path in files["ground_truth"].items() if stem in images}
    stems = _listed(source, files[first], {}) if source else ()
    return match(files, roles, layout.folders, stems, source)


def _pair_frames(layout: Layout, roles: Mapping[str, Role], source: Path | None) -> Pairing:
    """Pairs the frames of videos that have a mask, by `VIDEO/stem`."""
    files: dict[str, dict[str, Path]] = {role: {} for role in roles}
    for video, folders in layout.videos.items():
        for role, folder in folders.items():
            files[role].update({f"{video}/{stem}": path for stem, path in images_by_stem(folder).items()})
    first, masks = next(iter(files)), files["ground_truth"]
    labelled = sorted(stem for stem in files[first] if stem in masks)
    if source:
        videos = {video: list(stems) for video, stems in groupby(labelled, video_of)}
        pairing = match(files, roles, layout.folders, _listed(source, files[first], videos), source)
    else:
        left = {role: {stem: path for stem, path in found.items() if stem in masks} for role, found in files.items()}
        pairing = match(left, roles, layout.folders)
    role_by_call = {role.called: name for name, role in roles.items()}
    places = (layout.videos.get(video_of(one.stem), layout.folders) for one in pairing.unmatched)
    unmatched = (
        one._replace(folder=folders[role_by_call[one.called]])
        for one, folders in zip(pairing.unmatched, places, strict=True)
    )
    return Pairing(pairing.whole, tuple(unmatched), 0 if source else len(files[first]) - len(labelled))


def video_of(stem: str) -> str:
    """The video a frame is of; empty for an image that is of none."""
    return stem.rpartition("/")[0]


def _renamed(files: Files, role: Role, images: Files) -> Files:
    """Files by the reference's stems where all have their folder's name at their end, as 12_depth.png has."""
    if files.keys().isdisjoint(images):
        for name in role.names:
            ending = f"_{name}".lower()
            if all(stem.lower().endswith(ending) for stem in files):
                return {stem[: -len(ending)]: path for stem, path in files.items()}
    return files


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


def _listed(path: Path, known: Files, videos: Mapping[str, Sequence[str]]) -> list[str]:
    """The stems a list file names, in its order; of a video it names, those given here."""
    stems = [stem for line in lines_of(path) for stem in videos.get(line) or [as_stem(line, known)]]
    if not stems:
        raise UserError(f"{path}: the list file names no stem")
    doubled = [stem for stem, count in Counter(stems).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: named twice: {some_of(doubled)}")
    return stems


def as_stem(line: str, known: Collection[str]) -> str:
    """The stem that a list's line means; lists in the wild name files too."""
    stem, ending = os.path.splitext(line)
    return stem if line not in known and ending.lower() in ENDINGS else line
