"""The figures the paper reports in its Tables I to VI, for every method there."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from samsod.evaluation.tables.comparison import Row, difference
from samsod.utils.errors import UserError, nearest


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


def named_row(name: str) -> Row:
    """The row of the paper's Table I of this method, or of another table: `table3:METHOD`.

    Raises:
        UserError: The paper has no such table or row.
    """
    table, separator, method = name.partition(":")
    return reported_row(table, method) if separator else reported_row("table1", name)


def on_sets(row: Row, datasets: Container[str]) -> Row:
    """The row with its figures on these data sets alone, perhaps none."""
    return replace(row, scores={name: scores for name, scores in row.scores.items() if name in datasets})


def beside_reported(measured: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Measured rows, then rows of the paper on the same data sets; below each the difference to a single measured row.

    Args:
        measured: The measured rows.
        names: What `named_row` takes.

    Raises:
        UserError: The paper has no such row, or none of its figures is for a measured data set.
    """
    sets = {dataset for row in measured for dataset in row.scores}
    rows = list(measured)
    for name in names:
        row = named_row(name)
        shared = on_sets(row, sets)
        if not shared.scores:
            there, here = ", ".join(row.scores), ", ".join(sorted(sets))
            raise UserError(f"the paper reports {row.method} on {there}; measured was {here}: name the sets alike")
        rows += [shared, difference(measured[0], shared)] if len(measured) == 1 else [shared]
    return rows


def _row(entry: dict[str, Any], metrics: list[str]) -> Row:
    scores = {
        dataset: {metric: value for metric, value in zip(metrics, values, strict=True) if value is not None}
        for dataset, values in entry["scores"].items()
    }
    return Row(entry["method"], scores, reported=True, cost=entry.get("cost", {}))
