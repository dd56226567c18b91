"""What a check of data sets found, as a table and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from samsod.data.checking.check import CheckedSet, in_training_too, notes_on
from samsod.data.checking.inspection import PairFacts
from samsod.data.sources.folders import some_of
from samsod.data.sources.recognise import Recognised

HEADING = (
    "set",
    "part",
    "pairs",
    "expected",
    "size",
    "RGB",
    "second modality",
    "truth",
    "unreadable",
    "unmatched",
    "sizes differ",
    "in training too",
)


def faults_of(found: Recognised, checked: Sequence[CheckedSet]) -> list[str]:
    """Every fault, one line each."""
    return [*found.faults, *(fault for one in checked for fault in one.faults)]


def notes_of(found: Recognised, checked: Sequence[CheckedSet]) -> Iterator[str]:
    """Every note, one line each."""
    for one in checked:
        yield from (f"{one.found.label}: {note}" for note in notes_on(one))
        for train, stems in in_training_too(one, checked).items():
            same = [f"{there} = {here}" for here, there in stems.items()]
            yield f"{one.found.label}: RGB images that are in {train} too ({len(same)}): {some_of(same)}"
    yield from found.notes


def table_rows(checked: Sequence[CheckedSet]) -> list[list[str]]:
    """The cells under `HEADING`, a row for each set."""
    return [["-" if cell is None else str(cell) for cell in _row(one, checked).values()] for one in checked]


def as_json(found: Recognised, checked: Sequence[CheckedSet]) -> dict[str, Any]:
    """Everything as plain data: `usable`, `sets` (of each the table's row and more), `faults`, `notes`."""
    faults = faults_of(found, checked)
    sets = [{**_row(one, checked), **_whereabouts(one), "faults": one.faults} for one in checked]
    return {"usable": not faults, "sets": sets, "faults": faults, "notes": list(notes_of(found, checked))}


def _row(one: CheckedSet, checked: Sequence[CheckedSet]) -> dict[str, Any]:
    found, facts = one.found, one.facts
    formats = ["+".join(sorted({fact.formats[i] for fact in facts})) for i in range(3)]
    shared = in_training_too(one, checked)
    cells = (
        found.pairs.name,
        found.config.split,
        len(facts),
        found.published,
        _sizes(facts),
        formats[0],
        _with_kinds(formats[1], (fact.second for fact in facts)),
        _with_kinds(formats[2], (fact.mask for fact in facts)),
        sum(fact.unreadable for fact in facts),
        len(found.unmatched),
        sum(fact.sizes_differ for fact in facts),
        len({stem for same in shared.values() for stem in same}),
    )
    return dict(zip(HEADING, cells, strict=True))


def _whereabouts(one: CheckedSet) -> dict[str, Any]:
    found = one.found
    folders = {role: str(folder) for role, folder in found.layout.folders.items()}
    return {"family": found.family.name, "root": str(found.layout.root), "folders": folders}


def _sizes(facts: Iterable[PairFacts]) -> str:
    sizes = sorted({fact.size for fact in facts if fact.size}, key=lambda size: size[0] * size[1])
    ends = [f"{width}x{height}" for width, height in sizes]
    return "..".join([ends[0], ends[-1]] if len(ends) > 1 else ends)


def _with_kinds(formats: str, kinds: Iterable[str]) -> str:
    common = [kind for kind, _ in Counter(filter(None, kinds)).most_common()]
    return " ".join(filter(None, (formats, " + ".join(common))))
