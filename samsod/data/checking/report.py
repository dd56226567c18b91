"""What a check of data sets found, as a table and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from samsod.data.checking.check import CheckedSet, in_training_too, notes_on
from samsod.data.checking.inspection import PairFacts
from samsod.data.sources.folders import some_of
from samsod.data.sources.modalities import role_of
from samsod.data.sources.recognise import Recognised

BEFORE = ("set", "part", "pairs", "expected", "size")
AFTER = ("truth", "unreadable", "unmatched", "sizes differ", "in training too")


def faults_of(found: Recognised, checked: Sequence[CheckedSet]) -> list[str]:
    """Every fault, one line each."""
    return [*found.faults, *(fault for one in checked for fault in one.faults)]


def notes_of(found: Recognised, checked: Sequence[CheckedSet]) -> Iterator[str]:
    """Every note, one line each."""
    for one in checked:
        yield from (f"{one.found.label}: {note}" for note in notes_on(one))
        for train, stems in in_training_too(one, checked).items():
            same = [f"{there} = {here}" for here, there in stems.items()]
            called = role_of(one.found.modalities[0]).called
            yield f"{one.found.label}: {called}s that are in {train} too ({len(same)}): {some_of(same)}"
    yield from found.notes


def table(checked: Sequence[CheckedSet]) -> tuple[list[str], list[list[str]]]:
    """The heading and the cells, a row for each set, with a column for every modality that any set has."""
    modalities = list(dict.fromkeys(name for one in checked for name in one.found.modalities))
    rows = []
    for one in checked:
        images, figures = _images(one), _figures(one, checked)
        cells = [*figures[: len(BEFORE)], *map(images.get, modalities), *figures[len(BEFORE) :]]
        rows.append(["-" if cell is None else str(cell) for cell in cells])
    return [*BEFORE, *modalities, *AFTER], rows


def as_json(found: Recognised, checked: Sequence[CheckedSet]) -> dict[str, Any]:
    """Everything as plain data: `usable`, `sets` (of each the table's row and more), `faults`, `notes`."""
    faults = faults_of(found, checked)
    sets = [
        {
            **dict(zip(BEFORE + AFTER, _figures(one, checked), strict=True)),
            "images": _images(one),
            "family": one.found.family.name,
            "root": str(one.found.layout.root),
            "folders": {role: str(folder) for role, folder in one.found.layout.folders.items()},
            "faults": one.faults,
        }
        for one in checked
    ]
    return {"usable": not faults, "sets": sets, "faults": faults, "notes": list(notes_of(found, checked))}


def _figures(one: CheckedSet, checked: Sequence[CheckedSet]) -> tuple[Any, ...]:
    """What stands under BEFORE and AFTER."""
    found, facts = one.found, one.facts
    shared = in_training_too(one, checked)
    return (
        found.whole.name,
        found.config.split,
        len(facts),
        found.published,
        _sizes(facts),
        _with_kinds(facts, "ground_truth", (fact.mask for fact in facts)),
        sum(fact.unreadable for fact in facts),
        len(found.unmatched),
        sum(fact.sizes_differ for fact in facts),
        len({stem for same in shared.values() for stem in same}),
    )


def _images(one: CheckedSet) -> dict[str, str]:
    """Formats and kinds of the images of every modality."""
    return {
        name: _with_kinds(one.facts, name, (fact.kinds.get(name, "") for fact in one.facts))
        for name in one.found.modalities
    }


def _sizes(facts: Iterable[PairFacts]) -> str:
    sizes = sorted({fact.size for fact in facts if fact.size}, key=lambda size: size[0] * size[1])
    ends = [f"{width}x{height}" for width, height in sizes]
    return "..".join([ends[0], ends[-1]] if len(ends) > 1 else ends)


def _with_kinds(facts: Sequence[PairFacts], role: str, kinds: Iterable[str]) -> str:
    formats = "+".join(sorted({fact.formats[role] for fact in facts}))
    common = [kind for kind, _ in Counter(filter(None, kinds)).most_common()]
    return " ".join(filter(None, (formats, " + ".join(common))))
