"""The data sets a config lists: found on disk, fit for what they are listed for, and rid of bad pairs when asked to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from samsod.config import Config
from samsod.config.data_schema import DatasetConfig
from samsod.data.checking.check import CheckedSet, check_set
from samsod.data.sources.catalog import FoundSet, PairSet, hold_out, look_up, whole_set
from samsod.data.sources.families import find_family
from samsod.registry import LOSSES
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.progress import progress


class Sets(NamedTuple):
    """Sets that can be used, and lines about them for the log."""

    sets: list[PairSet]
    remarks: list[str]


class TrainingSets(NamedTuple):
    """What is trained on, what the best epoch is chosen on (perhaps nothing), and lines about both for the log."""

    train: list[PairSet]
    val: list[PairSet]
    remarks: list[str]


def training_sets(config: Config) -> TrainingSets:
    """The sets to train on and those to validate on; nothing is held out of a set with scribbles.

    Raises:
        UserError: No training set, or one that cannot be used; or one with scribbles under a loss that takes all that
            is not labelled for background, or with nothing to validate on.
    """
    data = config.data
    if not data.train:
        raise UserError("data.train: lists no data set")
    scribbles = [item.name or item.family for item in data.train if find_family(item).scribbles]
    if scribbles and not getattr(LOSSES.get(config.loss.name), "partial_labels", False):
        raise UserError(
            f"data.train: {' and '.join(scribbles)} has scribbles, and the loss {config.loss.name} would take all that "
            "is not labelled for background; set loss.name to scribble"
        )
    if len(scribbles) == len(data.train) and data.holdout and not data.val:
        raise UserError(
            f"data.train: {' and '.join(scribbles)} has scribbles, which no held-out part can be scored by; set "
            "data.val to a set with full masks, or data.holdout=0 and take the last checkpoint"
        )
    train = find_sets(data.train, config)
    if data.val:
        val = scored_sets(data.val, config, "data.val")
        return TrainingSets(train.sets, val.sets, train.remarks + val.remarks)
    shares = [0.0 if found.partial_labels else data.holdout for found in train.sets]
    parts = [(found.name, *hold_out(found.pairs, share)) for found, share in zip(train.sets, shares, strict=True)]
    whole = [name for (name, _, held), share in zip(parts, shares, strict=True) if share and not held]
    remarks = [f"note: nothing is held out of {name}: it has a single video, or pair" for name in whole]
    kept = [PairSet(name, kept) for name, kept, _ in parts]
    return TrainingSets(kept, [PairSet(name, held) for name, _, held in parts if held], train.remarks + remarks)


def scored_sets(items: Sequence[DatasetConfig], config: Config, key: str, modalities: Sequence[str] = ()) -> Sets:
    """The sets that the config lists under a key to score predictions on, with the images of the model or those named.

    Raises:
        UserError: One cannot be used, or has scribbles: a saliency map cannot be scored by them.
    """
    faults = [
        f"{key}: {item.name or item.family} has scribbles, which no saliency map can be scored by; name a set with "
        "full masks"
        for item in items
        if find_family(item).scribbles
    ]
    if faults:
        raise UserError(*faults)
    return find_sets(items, config, modalities)


def find_sets(items: Sequence[DatasetConfig], config: Config, modalities: Sequence[str] = ()) -> Sets:
    """The sets of a list in the config with the model's modalities or those named, the same on all ranks.

    With `data.skip_bad` rank 0 reads every file first, and the pairs that are incomplete or cannot be read are left
    out, counted and listed in the remarks.

    Raises:
        UserError: A set cannot be used; with `data.skip_bad`, not even a part of it.
    """
    names = modalities or config.model.modalities
    if not config.data.skip_bad:
        found = _found(items, config, names)
        return Sets([whole_set(one) for one in found], [line for one in found for line in _count_remark(one)])
    return distributed.on_main(lambda: _usable_sets(items, config, names))


def _found(items: Sequence[DatasetConfig], config: Config, modalities: Sequence[str]) -> list[FoundSet]:
    unaligned = [item.family for item in items if not find_family(item).aligned and len(modalities) > 1]
    if unaligned and config.data.sizes == "equal":
        raise UserError(f"{unaligned[0]}: its images are not aligned, and differ in size: set data.sizes=any")
    return [look_up(item, config.data.root, modalities, config.model.modalities[0]) for item in items]


def _usable_sets(items: Sequence[DatasetConfig], config: Config, modalities: Sequence[str]) -> Sets:
    checked = [check_set(found, config.data, 0, progress) for found in _found(items, config, modalities)]
    spoilt = [f"{one.found.layout.root}: no pair can be used: {one.faults[0]}" for one in checked if not one.usable]
    if spoilt:
        raise UserError(*spoilt)
    remarks = [line for one in checked for line in (*_count_remark(one.found), *_left_out(one))]
    return Sets([PairSet(one.found.whole.name, one.usable) for one in checked], remarks)


def _count_remark(found: FoundSet) -> Iterator[str]:
    count = len(found.whole.pairs)
    if found.published not in (None, count):
        yield f"note: {found.label} has {count} pairs, {found.published} as published"
    if found.unlabelled:
        yield f"note: {found.label}: {found.unlabelled} frames without a mask are passed over"


def _left_out(checked: CheckedSet) -> Iterator[str]:
    incomplete = {one.stem for one in checked.found.unmatched}
    total = len(checked.facts) + len(incomplete)
    if total > len(checked.usable):
        yield f"data.skip_bad: {total - len(checked.usable)} of the {total} pairs of {checked.found.label} are left out"
        yield from (f"left out: {fault}" for fault in checked.faults)
