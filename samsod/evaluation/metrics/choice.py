"""Which metrics there are, and what names mean."""

from __future__ import annotations

from collections.abc import Iterable

import samsod.evaluation.metrics.further  # noqa: F401  fills the registry
from samsod.evaluation.metrics.metric import Metric
from samsod.registry import METRICS
from samsod.utils.errors import UserError, nearest

STANDARD = ("S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "wF", "MAE")
"""Columns that are always there, in order."""


def further_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UserError: There is none.
    """
    metric: Metric = METRICS.get(name)()
    return metric


def chosen_metrics(names: Iterable[str], place: str = "") -> tuple[str, ...]:
    """The further metrics that are meant, each once.

    Args:
        names: Names of metrics or of their columns, whatever their case; those of `STANDARD` ask for nothing more.
        place: Where they were named, for messages.

    Raises:
        UserError: No such metric; a line for each, with the nearest name.
    """
    meant = {_key(name): "" for name in (*STANDARD, "standard")}
    for name in METRICS.names():
        meant |= {_key(column): name for column in (name, *further_metric(name).columns)}
    chosen, faults = [], []
    for name in names:
        if _key(name) in meant:
            chosen.append(meant[_key(name)])
        else:
            known, where = METRICS.names(), f"{place}: " if place else ""
            faults.append(f"{where}no metric is called {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    if faults:
        raise UserError(*faults)
    return tuple(dict.fromkeys(name for name in chosen if name))


def column_names(names: Iterable[str] = ()) -> tuple[str, ...]:
    """The columns of the standard metrics and of these further ones, in the order of tables."""
    return (*STANDARD, *(column for name in names for column in further_metric(name).columns))


def chosen_columns(names: Iterable[str], further: Iterable[str]) -> list[str]:
    """The columns that a table is to have, each once.

    Args:
        names: Names of columns, whatever their case.
        further: The further metrics that are computed.

    Raises:
        UserError: There is no such column; a line for each, with the nearest name.
    """
    known = {_key(column): column for column in column_names(further)}
    faults = [
        f"no column is called {name!r}{nearest(name, known.values())}; there are {', '.join(known.values())}"
        for name in names
        if _key(name) not in known
    ]
    if faults:
        raise UserError(*faults)
    return list(dict.fromkeys(known[_key(name)] for name in names))


def smaller_columns() -> set[str]:
    """The columns in which smaller values are better."""
    metrics = map(further_metric, METRICS.names())
    return {"MAE", *(column for metric in metrics if metric.smaller for column in metric.columns)}


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
