"""Which metrics there are, and what names mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

import samsod.evaluation.metrics.further
import samsod.evaluation.metrics.standard
import samsod.evaluation.metrics.weighted_f  # noqa: F401  they fill the registry
from samsod.data.sources.folders import some_of
from samsod.evaluation.metrics.metric import Metric
from samsod.registry import METRICS
from samsod.utils.errors import UserError, nearest

STANDARD = ("S", "F", "E", "wF", "MAE")
"""The metrics that are computed unless others are named, in the order of tables."""
QUICK = ("S", "F", "E", "MAE")
"""Those of them that take little time."""

SHOWN = 20
"""Columns that a message lists at most."""

ImageScores = Mapping[str, np.ndarray]
"""What metrics give of an image, or the mean of that over images, by their names: float64, `[size]`."""


def metric_names() -> list[str]:
    """All metrics, the standard ones first."""
    return list(dict.fromkeys((*STANDARD, *METRICS.names())))


def find_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UserError: There is none.
    """
    metric: Metric = METRICS.get(name)()
    return metric


def chosen_metrics(names: Iterable[str], place: str = "") -> tuple[str, ...]:
    """The standard metrics and the further ones that are meant, each once.

    Args:
        names: Names of metrics or of their columns, whatever their case; `standard` asks for nothing more.
        place: Where they were named, for messages.

    Raises:
        UserError: No such metric; a line for each, with the nearest name.
    """
    meant = {"standard": STANDARD[0]}
    for name in metric_names():
        meant |= {_key(column): name for column in (name, *find_metric(name).columns)}
    chosen, faults = [*STANDARD], []
    for name in names:
        if _key(name) in meant:
            chosen.append(meant[_key(name)])
        else:
            known, where = metric_names(), f"{place}: " if place else ""
            faults.append(f"{where}no metric is called {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    if faults:
        raise UserError(*faults)
    return tuple(dict.fromkeys(chosen))


def metrics_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The metrics that have these columns, each once."""
    by_column = {column: name for name in metric_names() for column in find_metric(name).columns}
    return tuple(dict.fromkeys(by_column[column] for column in columns))


def column_names(metrics: Iterable[str] = STANDARD) -> tuple[str, ...]:
    """The columns of metrics, in the order of tables."""
    return tuple(column for name in metrics for column in find_metric(name).columns)


def columns_of(scores: ImageScores) -> dict[str, np.ndarray]:
    """The columns' values, `[...]`, from what metrics give of an image or from means over images, `[..., size]`."""
    columns: dict[str, np.ndarray] = {}
    for name, mean in scores.items():
        metric = find_metric(name)
        columns |= zip(metric.columns, metric.summary(mean), strict=True)
    return columns


def chosen_columns(names: Iterable[str], metrics: Iterable[str] | None = None) -> list[str]:
    """The columns that are meant, each once.

    Args:
        names: Names of columns, whatever their case.
        metrics: The metrics that are computed; None: those that are named will be, see `metrics_of`.

    Raises:
        UserError: There is no such column; a line for each, with the nearest name.
    """
    known = {_key(column): column for column in column_names(metric_names() if metrics is None else metrics)}
    there, kind = list(known.values()), "metric" if metrics is None else "column"
    faults = [
        f"no {kind} is called {name!r}{nearest(name, there)}; known: {some_of(there, SHOWN)}"
        for name in names
        if _key(name) not in known
    ]
    if faults:
        raise UserError(*faults)
    return list(dict.fromkeys(known[_key(name)] for name in names))


def smaller_columns() -> set[str]:
    """The columns in which smaller values are better."""
    return {column for name in metric_names() if find_metric(name).smaller for column in find_metric(name).columns}


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
