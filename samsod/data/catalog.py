"""Which data sets there are and how their folders look: from a `DatasetConfig` to triplets of paths.

Adding a data set is one `Family` in `FAMILIES`. Folders and file endings are matched without regard to case.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.config import DatasetConfig
from samsod.data.layout import CALLED, MODALITIES, find_folders, find_root
from samsod.errors import UserError, nearest

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Triplet:
    """One pair of images and its mask; `stem` is the file name all three share, without its ending."""

    stem: str
    rgb: Path
    thermal: Path
    ground_truth: Path


@dataclass(frozen=True)
class PairSet:
    """A data set (or the part of one) and what results call it."""

    name: str
    triplets: tuple[Triplet, ...]


@dataclass(frozen=True)
class Family:
    """A published data set.

    Attributes:
        name: What a config calls it.
        folders: Names its folder has in the wild; empty: it has none of its own, and `root` must be given.
        splits: Its parts and how many pairs each holds, None when that is open; "" stands for a set without parts.
    """

    name: str
    folders: tuple[str, ...]
    splits: Mapping[str, int | None]


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("folders", (), {"": None, "train": None, "test": None}),
        Family("vt5000", ("VT5000", "VT5000_clear"), {"train": 2500, "test": 2500}),
        Family("vt1000", ("VT1000",), {"": 1000}),
        Family("vt821", ("VT821",), {"": 821}),
    )
}


def find_set(config: DatasetConfig, data_root: str) -> PairSet:
    """Finds the set's folders and pairs their files by stem.

    Args:
        config: Which set, and where it lies if not under `data_root`.
        data_root: Folder that holds the data sets.

    Returns:
        The pairs, sorted by stem or in the order of the list file.

    Raises:
        UserError: No such family, folder or list file; an empty folder; a file without its partners; two files of
            one stem. One line per fault.
    """
    family = find_family(config)
    root = find_root(config, family.folders, data_root)
    folders = find_folders(config, family.folders, root)
    files = {modality: _images(folder) for modality, folder in folders.items()}
    stems = _listed(config.list_file, root, files["rgb"]) if config.list_file else sorted(files["rgb"])
    faults = [*_without_partner(stems, files, folders)]
    if not config.list_file:
        faults += _without_rgb(files, folders)
    if faults:
        raise UserError("\n".join(faults))
    triplets = (Triplet(stem, *(files[modality][stem] for modality in MODALITIES)) for stem in stems)
    own_name = family.folders[0] if family.folders else family.name
    return PairSet(config.name or own_name, tuple(triplets))


def find_family(config: DatasetConfig) -> Family:
    """The family a config names, checked to have the part it asks for.

    `find_family(config).splits[config.split]` is the number of pairs the published set holds (None: open).

    Raises:
        UserError: No such family, or it has no such part.
    """
    family = FAMILIES.get(config.family)
    if family is None:
        raise UserError(
            f"no data set family is called {config.family!r}{nearest(config.family, FAMILIES)}; "
            f"known: {', '.join(sorted(FAMILIES))}"
        )
    if config.split not in family.splits:
        choices = " or ".join(part for part in family.splits if part)
        wanted = f"expected {choices}" if choices else "it has no parts, leave split out"
        raise UserError(f"{family.name}: split is {config.split!r}; {wanted}")
    return family


def hold_out(triplets: Sequence[Triplet], share: float) -> tuple[tuple[Triplet, ...], tuple[Triplet, ...]]:
    """Divides the pairs by a hash of their stems, so that the same files are held out in every run.

    Args:
        triplets: The pairs; both results keep their order.
        share: About how much of them to hold out, 0 to 1. Above 0, and with two pairs or more, at least one is held
            out and at least one kept.

    Returns:
        (kept, held out).
    """
    draws = {triplet.stem: _draw(triplet.stem) for triplet in triplets}
    ranked = sorted(draws.values())
    if share <= 0 or len(ranked) < 2:
        return tuple(triplets), ()
    # Above the lowest draw and not above the highest, so that neither part is empty.
    threshold = min(share if share > ranked[0] else ranked[1], ranked[-1])
    kept = tuple(triplet for triplet in triplets if draws[triplet.stem] >= threshold)
    return kept, tuple(triplet for triplet in triplets if draws[triplet.stem] < threshold)


def _draw(stem: str) -> float:
    """A number in [0, 1) that depends on the stem alone."""
    digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem; other files and hidden ones are passed over."""
    files: dict[str, Path] = {}
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    for name in names:
        stem, ending = os.path.splitext(name)
        if name.startswith(".") or ending.lower() not in ENDINGS:
            continue
        if stem in files:
            raise UserError(f"{folder}: two files of the same stem: {files[stem].name} and {name}")
        files[stem] = folder / name
    if not files:
        raise UserError(f"{folder}: holds no image ({', '.join(ENDINGS)})")
    return files


def _listed(list_file: str, root: Path, known: Mapping[str, Path]) -> list[str]:
    """The stems a list file names, in its order; it is looked for as given, then in the set's folder."""
    path = next((p for p in (Path(list_file).expanduser(), root / list_file) if p.is_file()), None)
    if path is None:
        raise UserError(f"{list_file}: no such list file, here or in {root}")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{path}: the list file is not a text file") from None
    stems = [_as_stem(line, known) for line in lines if line]
    if not stems:
        raise UserError(f"{path}: the list file names no stem")
    doubled = [stem for stem, count in Counter(stems).items() if count > 1]
    if doubled:
        raise UserError(f"{path}: named twice: {_some(doubled)}")
    unknown = [stem for stem in stems if stem not in known]
    if unknown:
        folder = next(iter(known.values())).parent
        raise UserError(f"{path}: no RGB image in {folder} for {_some(unknown)}")
    return stems


def _as_stem(line: str, known: Mapping[str, Path]) -> str:
    """Lists in the wild name files too."""
    stem, ending = os.path.splitext(line)
    return stem if line not in known and ending.lower() in ENDINGS else line


def _without_partner(
    stems: Sequence[str], files: Mapping[str, Mapping[str, Path]], folders: Mapping[str, Path]
) -> Iterator[str]:
    for modality in ("thermal", "ground_truth"):
        lacking = [stem for stem in stems if stem not in files[modality]]
        if len(lacking) == 1:
            yield f"{files['rgb'][lacking[0]]}: no {CALLED[modality]} of that stem in {folders[modality]}"
        elif lacking:
            yield (
                f"{folders[modality]}: no {CALLED[modality]} for {len(lacking)} of the {len(stems)} files "
                f"in {folders['rgb']}: {_some(lacking)}"
            )


def _without_rgb(files: Mapping[str, Mapping[str, Path]], folders: Mapping[str, Path]) -> Iterator[str]:
    for modality in ("thermal", "ground_truth"):
        extra = sorted(files[modality].keys() - files["rgb"].keys())
        if len(extra) == 1:
            yield f"{files[modality][extra[0]]}: no RGB image of that stem in {folders['rgb']}"
        elif extra:
            yield f"{folders[modality]}: {len(extra)} files have no RGB image in {folders['rgb']}: {_some(extra)}"


def _some(stems: Sequence[str], shown: int = 5) -> str:
    return ", ".join(stems[:shown]) + (f" and {len(stems) - shown} more" if len(stems) > shown else "")
