"""The figures the paper reports in its Tables I to VI, for every method there."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from samsod.errors import UserError, nearest
from samsod.evaluation.comparison import Row


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


def _row(entry: dict[str, Any], metrics: list[str]) -> Row:
    scores = {
        dataset: {metric: value for metric, value in zip(metrics, values, strict=True) if value is not None}
        for dataset, values in entry["scores"].items()
    }
    return Row(entry["method"], scores, reported=True, cost=entry.get("cost", {}))
