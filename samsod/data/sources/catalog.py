"""From a `DatasetConfig` to pairs of paths, and how a set is divided to hold a part out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.families import find_family
from samsod.data.sources.family import Family
from samsod.data.sources.layout import find_layout
from samsod.data.sources.pairing import Unmatched, pair_files, summarise, video_of
from samsod.data.sources.wanted import Layout
from samsod.utils.errors import UserError


@dataclass(frozen=True)
class Pair:
    """The images of one scene, one for each modality, and their truth.

    Attributes:
        stem: The file name all share, without its ending; of a frame of a video `VIDEO/stem`.
        images: The image of each modality, the reference first.
        ground_truth: The mask; of a set with scribbles the strokes on the foreground.
        labelled: Of a set with scribbles the image of the pixels that any stroke covers, else None.
        has_own_mask: Whether the mask was made for the reference's image; not so when a model is tested without the
            modality that is its own reference.
    """

    stem: str
    images: Mapping[str, Path]
    ground_truth: Path
    labelled: Path | None = None
    has_own_mask: bool = True

    @property
    def reference(self) -> Path:
        """The image whose size and mask count for all."""
        return next(iter(self.images.values()))

    @property
    def maps(self) -> dict[str, Path]:
        """The files that say something about the pixels: `ground_truth`, and with scribbles `labelled`."""
        maps = {"ground_truth": self.ground_truth}
        return {**maps, "labelled": self.labelled} if self.labelled else maps

    @property
    def files(self) -> dict[str, Path]:
        """All its files, by modality and map."""
        return {**self.images, **self.maps}


@dataclass(frozen=True)
class PairSet:
    """A data set (or the part of one) and what results call it."""

    name: str
    pairs: tuple[Pair, ...]

    @property
    def partial_labels(self) -> bool:
        """Whether it has scribbles in the place of masks."""
        return any(pair.labelled for pair in self.pairs)


@dataclass(frozen=True)
class FoundSet:
    """A set as it lies on disk, not necessarily whole.

    Attributes:
        config: What was asked for.
        family: Its family.
        layout: Its folders.
        modalities: What it was asked for images of.
        whole: The pairs that are complete, sorted by stem or in the order of the list file.
        unmatched: The files that lack a partner; with a list file only those it names.
        unlabelled: How many frames of videos were passed over, as they have no mask.
    """

    config: DatasetConfig
    family: Family
    layout: Layout
    modalities: tuple[str, ...]
    whole: PairSet
    unmatched: tuple[Unmatched, ...]
    unlabelled: int = 0

    @property
    def label(self) -> str:
        """Its name and part."""
        return " ".join(filter(None, (self.whole.name, self.config.split)))

    @property
    def published(self) -> int | None:
        """How many pairs the set should hold; None when that is open."""
        return None if self.config.list_file else self.family.splits[self.config.split]


def look_up(config: DatasetConfig, data_root: str, modalities: Sequence[str], masked: str = "") -> FoundSet:
    """Finds the set's folders and pairs their files by stem.

    Args:
        config: Which set, and where it lies if not under `data_root`.
        data_root: Folder that holds the data sets.
        modalities: What images a pair has; the first is the reference. What else the set has is not looked at.
        masked: The modality whose images the masks were made for; empty: the reference.

    Raises:
        UserError: No such family, modality, folder or list file; an empty folder; two files of one stem.
    """
    family = find_family(config)
    layout = find_layout(config, family, data_root, modalities)
    pairing = pair_files(layout, family.roles(modalities), config.list_file, family.shared_masks)
    own = masked in ("", modalities[0])
    pairs = tuple(
        Pair(stem, {name: files[name] for name in modalities}, files["ground_truth"], files.get("labelled"), own)
        for stem, files in pairing.whole.items()
    )
    own_name = family.folders[0] if family.folders else family.name
    whole = PairSet(config.name or own_name, pairs)
    return FoundSet(config, family, layout, tuple(modalities), whole, pairing.unmatched, pairing.unlabelled)


def find_set(config: DatasetConfig, data_root: str, modalities: Sequence[str]) -> PairSet:
    """The pairs of a set that must be whole; see `look_up`.

    Raises:
        UserError: As in `look_up`, or a file without its partners. One line per fault.
    """
    return whole_set(look_up(config, data_root, modalities))


def whole_set(found: FoundSet) -> PairSet:
    """The pairs of a set, if no file lacks a partner.

    Raises:
        UserError: One does; one line for all of a folder that lack the same.
    """
    if found.unmatched:
        raise UserError(*summarise(found.unmatched))
    return found.whole


def pairs_id(sets: Sequence[PairSet]) -> str:
    """What identifies the pairs of sets, wherever they lie: the stems and the sizes of their files, in order.

    Raises:
        UserError: A file is not there any more.
    """
    digest = hashlib.sha256()
    for pair in (pair for found in sets for pair in found.pairs):
        try:
            sizes = {name: path.stat().st_size for name, path in pair.files.items()}
        except OSError as error:
            raise UserError(f"{error.filename}: {error.strerror}") from None
        digest.update(f"{pair.stem} {sizes}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def hold_out(pairs: Sequence[Pair], share: float) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Divides the pairs by a hash of their stems, so that the same files are held out in every run.

    Frames of videos are divided by a hash of their video's name, as frames of one are near-copies of each other.

    Args:
        pairs: The pairs; both results keep their order.
        share: About how much of them to hold out, 0 to 1. Above 0, and with two pairs (or videos) or more, at least one
            is held out and at least one kept.

    Returns:
        (kept, held out).
    """
    draws = {pair.stem: _draw(video_of(pair.stem) or pair.stem) for pair in pairs}
    ranked = sorted({*draws.values()})
    if share <= 0 or len(ranked) < 2:
        return tuple(pairs), ()
    # Above the lowest draw and not above the highest, so that neither part is empty.
    threshold = min(share if share > ranked[0] else ranked[1], ranked[-1])
    kept = tuple(pair for pair in pairs if draws[pair.stem] >= threshold)
    return kept, tuple(pair for pair in pairs if draws[pair.stem] < threshold)


def _draw(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
