"""Tables as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
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


def results_table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The table of a test.

    Args:
        results: Per map name and set the metrics, as `run_test` gives them.

    Returns:
        Lines of text; with several map names one row for each under every set.
    """
    names = list(results)
    rows = []
    there = [metric for by_set in results.values() for scores in by_set.values() for metric in scores]
    metrics = dict.fromkeys([*METRICS, *(metric for metric in there if metric != "images")])
    for dataset in results[names[0]]:
        for name in names:
            scores = results[name][dataset]
            values = [f"{scores[metric]:.4f}" if metric in scores else "-" for metric in metrics]
            label = [dataset] if len(names) == 1 else [dataset, name]
            rows.append([*label, str(scores["images"]), *values])
    heading = ["set", "images"] if len(names) == 1 else ["set", "map", "images"]
    return text_table([*heading, *map(with_arrow, metrics)], rows, left=len(heading) - 1)


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
