"""Tables as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from samsod.evaluation.metrics.choice import column_names, smaller_columns

METRICS = column_names()
"""Columns of every results table, in order; all but MAE are better when larger."""


def is_better_when_smaller(metric: str) -> bool:
    """Errors are; all other metrics are better when larger."""
    return metric in smaller_columns()


def best(metric: str, values: Iterable[float]) -> float:
    """The best of a metric's values."""
    return (min if is_better_when_smaller(metric) else max)(values)


def with_arrow(metric: str) -> str:
    """The metric and where better values lie."""
    return f"{metric}{'↓' if is_better_when_smaller(metric) else '↑'}"


def results_rows(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]], strong: Callable[[str], str] = str
) -> list[list[str]]:
    """What a table of a test holds: set, map, images, the standard columns and what else there is.

    Args:
        results: Per map name and set the metrics, as `run_test` gives them.
        strong: Marks the best of a set's maps, where several were scored.

    Returns:
        The heading, and a row for each map under every set; a single map goes without its name.
    """
    there = (column for by_set in results.values() for scores in by_set.values() for column in scores)
    columns = [column for column in dict.fromkeys([*METRICS, *there]) if column != "images"]
    rows = [["set", "map", "images", *map(with_arrow, columns)]]
    for dataset in next(iter(results.values())):
        group = {name: by_set[dataset] for name, by_set in results.items() if dataset in by_set}
        for name, scores in group.items():
            cells = [_score_cell(scores.get(column), column, group.values(), strong) for column in columns]
            rows.append([dataset, name, str(scores.get("images", "-")), *cells])
    return rows if len(results) > 1 else [[row[0], *row[2:]] for row in rows]


def _score_cell(value: Any, column: str, group: Iterable[Mapping[str, Any]], strong: Callable[[str], str]) -> str:
    if not isinstance(value, (int, float)):
        return "-"
    others = [round(scores[column], 4) for scores in group if isinstance(scores.get(column), (int, float))]
    is_best = len(others) > 1 and round(value, 4) == best(column, others)
    return strong(f"{value:.4f}") if is_best else f"{value:.4f}"


def results_table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The table of a test as lines of text; see `results_rows`."""
    heading, *rows = results_rows(results)
    return text_table(heading, rows, left=heading.index("images"))


def text_table(heading: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns padded to their widest cell, the first `left` of them flush left, the others flush right."""
    aligned = ["left"] * left + ["right"] * (len(heading) - left)
    # As given: blanks that stand for marks keep the digits of a column below each other.
    return tabulate(rows, heading, disable_numparse=True, preserve_whitespace=True, colalign=aligned)


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A GitHub table of cells that are escaped already, aligned as those of `text_table`."""
    rule = ["---"] * left + ["---:"] * (len(heading) - left)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *rows))


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """A table as CSV, the heading first; numbers have all their digits."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
