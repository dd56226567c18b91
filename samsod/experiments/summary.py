"""From finished runs to the table they end in."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samsod.data.selection import scored_sets
from samsod.evaluation.maps.results import name_folders, open_cache, summarise, write_results
from samsod.evaluation.maps.scoring import MapSet, score_maps
from samsod.evaluation.maps.selected import find_method_maps
from samsod.evaluation.metrics.choice import STANDARD, metrics_of
from samsod.evaluation.tables.comparison import Comparison, Row, difference
from samsod.evaluation.tables.reported import on_sets, reported_row, reported_rows
from samsod.experiments.plan import Run
from samsod.experiments.table import TableConfig
from samsod.utils.maps import FINAL

Scores = dict[str, dict[str, float]]


def other_maps(run: Run, predictions: Sequence[str]) -> list[MapSet]:
    """Other methods' maps of the run's test sets, from `NAME=DIR`, folders with a sub-folder for each set.

    Raises:
        UserError: A test set or a map is missing.
    """
    if not predictions:
        return []
    sets = scored_sets(run.config.data.test, run.config, "data.test").sets
    return find_method_maps(name_folders("--pred", predictions), sets)


def other_rows(maps: Sequence[MapSet], columns: Sequence[str]) -> list[Row]:
    """Scores other methods' maps, in these columns and the standard ones.

    Raises:
        UserError: Maps cannot be scored.
    """
    metrics = list(dict.fromkeys((*STANDARD, *metrics_of(columns))))
    results = summarise(score_maps(maps, cache=open_cache(None), metrics=metrics)) if maps else {}
    return [Row(method, scores) for method, scores in results.items()]


def make_table(table: TableConfig, runs: Sequence[Run], others: Sequence[Row], all_reported: bool) -> Comparison:
    """The table of finished runs, beside other methods and what the paper reports.

    Args:
        table: The table.
        runs: All its runs, finished.
        others: Rows of other methods.
        all_reported: Show all methods the paper reports, not only those of the table's own rows.
    """
    return Comparison(table_rows(table, runs, others, all_reported), table.metrics, rank_reported=all_reported)


def write_table(table: Comparison, runs: Sequence[Run], folder: Path) -> None:
    """Writes the table as CSV, Markdown and LaTeX, and every run's own scores as JSON."""
    results = {run.title: json.loads(run.results.read_text(encoding="utf-8")) for run in runs}
    write_results(folder, results, table)


def measured_row(label: str, runs: Sequence[Run], step_cost: bool = False, streams: bool = False) -> Row:
    """Mean and sample standard deviation of a row's runs, one for every seed; of one run its scores alone.

    Args:
        label: What the table calls it.
        runs: Its runs.
        step_cost: Also tell the time of a training step.
        streams: Also give the scores of single streams, as if each were a data set of its own (`SET, stream rgb`).
    """
    results = [json.loads(run.results.read_text(encoding="utf-8")) for run in runs]
    if streams and all(run.streams.is_file() for run in runs):
        results = [scores | _stream_scores(run) for run, scores in zip(runs, results, strict=True)]
    cost = next((_cost(run) for run in runs if run.cost.is_file()), {})
    if step_cost:
        cost["step_ms"] = statistics.median(time for run in runs for time in step_times(run))
    spread = _combine(results, statistics.stdev) if len(results) > 1 else {}
    return Row(label, _combine(results, statistics.fmean), spread, cost=cost)


def step_times(run: Run) -> list[float]:
    """Milliseconds of a training step, a mean between every two log lines; waiting for data is not in them.

    The first line's, in which everything starts, is left out when there are others.
    """
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [row for line in lines if "loss" in (row := json.loads(line))]
    batch = run.config.train.batch_size
    return [1000 * batch / row["images_per_second"] * (1 - row["data_wait"]) for row in logged[1:] or logged]


def table_rows(table: TableConfig, runs: Sequence[Run], others: Iterable[Row], all_reported: bool) -> list[Row]:
    """The table's rows: other methods', then each measured row with the paper's beside it and the difference.

    A reported row is shown when it has scores on one of the measured data sets.
    """
    beside = {row.reported for row in table.rows}
    measured = {
        row.name: measured_row(
            row.label, [run for run in runs if run.row.name == row.name], table.step_cost, table.streams
        )
        for row in table.rows
    }
    sets = {dataset for row in measured.values() for dataset in row.scores}
    rows = list(others)
    if all_reported and table.reported:
        others_reported = (on_sets(row, sets) for row in reported_rows(table.reported) if row.method not in beside)
        rows += [row for row in others_reported if row.scores]
    for row in table.rows:
        mine = measured[row.name]
        rows.append(mine)
        if table.reported and row.reported:
            paper = on_sets(reported_row(table.reported, row.reported), mine.scores)
            rows += [paper, difference(mine, paper)] if paper.scores else []
    return rows


def _stream_scores(run: Run) -> Scores:
    """Of every stream on every set; of a single one nothing, for its map is the final one."""
    results = json.loads(run.streams.read_text(encoding="utf-8"))
    names = [name for name in results if name != FINAL]
    if len(names) < 2:
        return {}
    return {f"{dataset}, stream {name}": scores for name in names for dataset, scores in results[name].items()}


def _combine(results: Sequence[Mapping[str, Mapping[str, float]]], how: Any) -> Scores:
    return {
        dataset: {metric: how([result[dataset][metric] for result in results]) for metric in scores}
        for dataset, scores in results[0].items()
    }


def _cost(run: Run) -> dict[str, float]:
    costs = json.loads(run.cost.read_text(encoding="utf-8"))
    return {
        "params_M": costs["params"] / 1e6,
        "flops_G": costs["macs_fvcore"] / 1e9,
        "fps": costs["fps"],
        "memory_GiB": costs["peak_memory_gib"],
    }
