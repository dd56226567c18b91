"""The values the paper reports in its Tables I to VI, for every method there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from samsod.config.data_schema import OVERALL
from samsod.evaluation.tables.comparison import Row, difference
from samsod.utils.errors import UserError, collected, nearest


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(Path(__file__).with_name("reported.json").read_text(encoding="utf-8"))
    return tables


def reported_rows(table: str) -> list[Row]:
    """The rows of one of the paper's tables (table1 to table6), in its order.

    Raises:
        UserError: The paper has no such table.
    """
    tables = _tables()
    if table not in tables:
        raise UserError(f"the paper has no {table!r}{nearest(table, tables)}; known: {', '.join(tables)}")
    metrics = tables[table]["metrics"]
    return [_row(entry, metrics) for entry in tables[table]["rows"]]


def reported_row(table: str, method: str) -> Row:
    """One row of one of the paper's tables.

    Raises:
        UserError: The paper has no such table, or the table no such row.
    """
    rows = {row.method: row for row in reported_rows(table)}
    if method not in rows:
        raise UserError(f"the paper's {table} has no {method!r}{nearest(method, rows)}; known: {'; '.join(rows)}")
    return rows[method]


def named_rows(names: Sequence[str], datasets: Sequence[str]) -> list[Row]:
    """Rows of the paper, with what they have on the data sets that are to be measured.

    Args:
        names: Methods of its Table I, or of another table: `table3:METHOD`.
        datasets: What the measured sets are called.

    Raises:
        UserError: The paper has no such row, or has nothing on any of these sets; one line for each.
    """
    rows: list[Row] = []
    faults: list[str] = []
    for name in names:
        with collected(faults):
            table, separator, method = name.partition(":")
            row = reported_row(table, method) if separator else reported_row("table1", name)
            rows.append(on_sets(row, datasets))
            if not rows[-1].scores:
                there, here = ", ".join(row.scores), ", ".join(sorted(datasets))
                faults.append(f"the paper reports {row.method} on {there}; measured are {here}: name the sets alike")
    if faults:
        raise UserError(*faults)
    return rows


def on_sets(row: Row, datasets: Iterable[str]) -> Row:
    """The row on these data sets alone, perhaps on none; its mean over several sets stays only if it is over these."""
    sets = {*datasets} - {OVERALL}
    if row.scores.keys() - {OVERALL} == sets:
        sets.add(OVERALL)
    return replace(row, scores={name: scores for name, scores in row.scores.items() if name in sets})


def beside_reported(measured: Sequence[Row], reported: Sequence[Row]) -> list[Row]:
    """Measured rows, then reported ones; below each of these the difference to a measured row that is alone."""
    rows = list(measured)
    for row in reported:
        rows += [row, difference(measured[0], row)] if len(measured) == 1 else [row]
    return rows


def _row(entry: dict[str, Any], metrics: list[str]) -> Row:
    scores = {
        dataset: {metric: value for metric, value in zip(metrics, values, strict=True) if value is not None}
        for dataset, values in entry["scores"].items()
    }
    return Row(entry["method"], scores, reported=True, cost=entry.get("cost", {}))
