"""Whether data sets can be used: their faults, and what is worth knowing besides.

A fault is what training or testing would stop at: a file without partners, one that cannot be read, a mask that is
none, images of a pair that differ in size (where `data.sizes` lets them, it is a note). Everything else is a note.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from samsod.config.data_schema import DataConfig
from samsod.data.checking.inspection import PairFacts, inspect_pairs
from samsod.data.sources.catalog import FoundSet, Pair
from samsod.data.sources.folders import some_of
from samsod.data.sources.modalities import role_of, settings_of
from samsod.utils.errors import shown

Watch = Callable[[Iterable[PairFacts], int, str], Iterable[PairFacts]]
"""Passes facts on and shows how far they are: `samsod.engine.log.progress`."""


@dataclass(frozen=True)
class CheckedSet:
    """A set whose every file was read, and what each of its complete pairs holds, in their order."""

    found: FoundSet
    facts: tuple[PairFacts, ...]

    @property
    def faults(self) -> list[str]:
        """One line for every reason why it cannot be used as it is, each naming a file."""
        unmatched = [str(one) for one in self.found.unmatched]
        return unmatched + [fault for facts in self.facts for fault in facts.faults]

    @property
    def usable(self) -> tuple[Pair, ...]:
        """The pairs without fault."""
        pairs = zip(self.found.whole.pairs, self.facts, strict=True)
        return tuple(pair for pair, facts in pairs if not facts.faults)


def check_set(found: FoundSet, data: DataConfig, processes: int, watch: Watch) -> CheckedSet:
    """Reads every file of a set; see `inspect_pairs`. Images that are published unaligned may differ in size."""
    pairs = found.whole.pairs
    modalities = {name: settings_of(name, data) for name in found.modalities}
    sizes = data.sizes if found.family.aligned else "any"
    with closing(inspect_pairs(pairs, modalities, processes, sizes)) as facts:
        return CheckedSet(found, tuple(watch(facts, len(pairs), f"checking {found.label}")))


def notes_on(checked: CheckedSet) -> Iterator[str]:
    """What does not keep a set from being used, but is worth a look; one line each."""
    found, facts = checked.found, checked.facts
    if found.published not in (None, len(facts)):
        yield f"{len(facts)} pairs, {found.published} as published"
    if not found.family.aligned and len(found.modalities) > 1:
        yield "its images are not aligned: train and test with data.sizes=any"
    groups = [group for group in _by_digest(facts).values() if len(group) > 1]
    if groups:
        repeated = sum(map(len, groups)) - len(groups)
        called = role_of(found.modalities[0]).called
        yield f"{called}s that are there more than once ({repeated}): {some_of([_same(group) for group in groups])}"
    for name in found.modalities:
        kinds = Counter(fact.kinds[name] for fact in facts if name in fact.kinds)
        if len(kinds) > 1:
            counts = ", ".join(f"{count} of {kind}" for kind, count in kinds.most_common())
            yield f"its {role_of(name).called}s differ in kind: {counts}"
    tagged = [shown(path) for fact in facts for path in fact.tagged]
    if tagged:
        yield f"files with an orientation tag, which is not obeyed ({len(tagged)}): {some_of(tagged, 1)}"
    unequal = [fact.stem for fact in facts if fact.sizes_differ and not fact.faults]
    if unequal:
        stretched = sum(fact.stretched for fact in facts if fact.stem in unequal)
        more = f", {stretched} of them in proportions too" if stretched else ""
        said = f"pairs of images that differ in size{more}, each resized on its own"
        yield f"{said} ({len(unequal)}): {some_of(unequal)}"
    empty, stray = ([fact.stem for fact in facts if getattr(fact, flag)] for flag in ("empty", "stray"))
    if empty:
        yield f"pairs without any foreground ({len(empty)}): {some_of(empty)}"
    if stray:
        yield f"pairs with foreground strokes outside the labelled region ({len(stray)}): {some_of(stray)}"


def in_training_too(test: CheckedSet, checked: Iterable[CheckedSet]) -> dict[str, dict[str, str]]:
    """Which reference images of a test set are in training sets: by training set, the stem there by the stem here.

    Images are the same when all their decoded pixels are, whatever the files are called or stored as.
    """
    shared = {}
    for train in checked if _tests(test) else ():
        known = _by_digest(train.facts) if _trains(train) else {}
        same = {fact.stem: known[fact.digest][0] for fact in test.facts if fact.digest in known}
        if same:
            shared[train.found.label] = same
    return shared


def _trains(checked: CheckedSet) -> bool:
    return checked.found.config.split == "train" or checked.found.family.trains


def _tests(checked: CheckedSet) -> bool:
    published = bool(checked.found.family.folders)
    return checked.found.config.split == "test" or (published and not _trains(checked))


def _by_digest(facts: Iterable[PairFacts]) -> dict[str, list[str]]:
    stems = defaultdict(list)
    for fact in facts:
        if fact.digest:
            stems[fact.digest].append(fact.stem)
    return stems


def _same(stems: Sequence[str]) -> str:
    return " = ".join([*stems[:3], *["..."] * (len(stems) > 3)])
