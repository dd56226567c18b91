"""From a `DatasetConfig` to triplets of paths, and how a set is divided to hold a part out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.families import Family, find_family
from samsod.data.sources.layout import Layout, find_layout
from samsod.data.sources.pairing import Unmatched, pair_files, summarise
from samsod.utils.errors import UserError


@dataclass(frozen=True)
class Triplet:
    """One pair of images and its truth.

    Attributes:
        stem: The file name all share, without its ending.
        rgb: The RGB image.
        thermal: The thermal (or depth) image.
        ground_truth: The mask; of a set with scribbles the strokes on the foreground.
        labelled: Of a set with scribbles the image of the pixels that any stroke covers, else None.
    """

    stem: str
    rgb: Path
    thermal: Path
    ground_truth: Path
    labelled: Path | None = None


@dataclass(frozen=True)
class PairSet:
    """A data set (or the part of one) and what results call it."""

    name: str
    triplets: tuple[Triplet, ...]

    @property
    def partial_labels(self) -> bool:
        """Whether it has scribbles in the place of masks."""
        return any(triplet.labelled for triplet in self.triplets)


@dataclass(frozen=True)
class FoundSet:
    """A set as it lies on disk, not necessarily whole.

    Attributes:
        config: What was asked for.
        family: Its family.
        layout: Its folders.
        pairs: The pairs that are complete, sorted by stem or in the order of the list file.
        unmatched: The files that lack a partner; with a list file only those it names.
    """

    config: DatasetConfig
    family: Family
    layout: Layout
    pairs: PairSet
    unmatched: tuple[Unmatched, ...]

    @property
    def label(self) -> str:
        """Its name and part."""
        return " ".join(filter(None, (self.pairs.name, self.config.split)))

    @property
    def published(self) -> int | None:
        """How many pairs the set should hold; None when that is open."""
        return None if self.config.list_file else self.family.splits[self.config.split]


def look_up(config: DatasetConfig, data_root: str) -> FoundSet:
    """Finds the set's folders and pairs their files by stem.

    Args:
        config: Which set, and where it lies if not under `data_root`.
        data_root: Folder that holds the data sets.

    Raises:
        UserError: No such family, folder or list file; an empty folder; two files of one stem.
    """
    family = find_family(config)
    layout = find_layout(config, family, data_root)
    pairing = pair_files(layout, family.roles, config.list_file)
    triplets = (Triplet(stem, *paths) for stem, paths in pairing.whole.items())
    own_name = family.folders[0] if family.folders else family.name
    return FoundSet(config, family, layout, PairSet(config.name or own_name, tuple(triplets)), pairing.unmatched)


def find_set(config: DatasetConfig, data_root: str) -> PairSet:
    """The pairs of a set that must be whole; see `look_up`.

    Raises:
        UserError: As in `look_up`, or a file without its partners. One line per fault.
    """
    return whole_set(look_up(config, data_root))


def whole_set(found: FoundSet) -> PairSet:
    """The pairs of a set, if no file lacks a partner.

    Raises:
        UserError: One does; one line for all of a folder that lack the same.
    """
    if found.unmatched:
        raise UserError("\n".join(summarise(found.unmatched)))
    return found.pairs


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
