"""How two rows of a table differ, seed by seed: in pairs of runs that share their seed and their test images."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.data.selection import scored_sets
from samsod.data.sources.catalog import PairSet
from samsod.evaluation.maps.groups import drawn_units, find_videos, video_scores
from samsod.evaluation.maps.paired import Difference, paired_differences
from samsod.evaluation.maps.results import open_cache
from samsod.evaluation.maps.scoring import MapSet, score_maps
from samsod.evaluation.maps.selected import find_method_maps
from samsod.evaluation.metrics.choice import metrics_of
from samsod.evaluation.tables.text import csv_text, is_better_when_smaller, markdown_table, text_table
from samsod.experiments.plan import Run
from samsod.experiments.table import CompareConfig, TableConfig
from samsod.utils.errors import UserError
from samsod.utils.files import write_text

NAME = "differences"
"""Of the files they are written to."""


@dataclass(frozen=True)
class RowDifference:
    """One column of two rows on one data set."""

    label: str
    pair: CompareConfig
    seeds: tuple[int, ...]
    found: Difference
    """With `each` in the order of the seeds."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.found.each)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over the seeds; of one seed there is none."""
        return statistics.stdev(self.found.each) if len(self.found.each) > 1 else None

    @property
    def better(self) -> int:
        """In how many seeds the first row is the better one."""
        sign = -1 if is_better_when_smaller(self.found.metric) else 1
        return sum(sign * value > 0 for value in self.found.each)


def row_differences(table: TableConfig, runs: Sequence[Run], by_name: bool = False) -> list[RowDifference]:
    """The differences of all pairs of rows a table compares, in its metrics.

    Every value is that of a test's maps. The intervals are those of a bootstrap over seeds and images, in whose place
    whole videos are drawn where there are such; see `samsod.evaluation.maps.paired`.

    Args:
        table: The table.
        runs: All its runs, finished.
        by_name: Test images are called `VIDEO_FRAME`.

    Raises:
        UserError: Maps are missing or cannot be scored, rows are tested on different images, or names are not of
            frames; one line each.
    """
    if not table.compare:
        return []
    named = {name for pair in table.compare for name in (pair.first, pair.second)}
    by_row = {name: [run for run in runs if run.row.name == name] for name in named}
    sets: dict[str, list[PairSet]] = {}  # looked for once: rows share theirs as a rule
    maps = {run.title: _maps(run, sets) for row in by_row.values() for run in row}
    for pair in table.compare:
        first, second = (_tested(maps[by_row[name][0].title]) for name in (pair.first, pair.second))
        if first != second:
            raise UserError(f"compare: {pair.first} and {pair.second} are tested on different images")
    every = [item for items in maps.values() for item in items]
    scores = score_maps(every, cache=open_cache(None), metrics=metrics_of(table.metrics))
    videos = video_scores(scores, find_videos(every, by_name))
    drawn = drawn_units(scores, videos)
    labels = {row.name: row.label for row in table.rows}
    return [
        RowDifference(
            pair.label or f"{labels[pair.first]} against {labels[pair.second]}",
            pair,
            tuple(run.config.seed for run in by_row[pair.first]),
            found,
        )
        for pair in table.compare
        for found in paired_differences(
            drawn, [[run.title for run in by_row[name]] for name in (pair.first, pair.second)], together=not videos
        )
        if found.metric in table.metrics
    ]


def differences_text(differences: Sequence[RowDifference], digits: int = 4) -> str:
    """For a terminal: a line for each pair, data set and column."""
    heading, *lines = _lines(differences, digits)
    return text_table(heading, lines, left=3)


def write_differences(differences: Sequence[RowDifference], folder: Path) -> None:
    """Writes differences.json and differences.csv, with all digits, and differences.md; without any, nothing."""
    if not differences:
        return
    records = [_record(one) for one in differences]
    write_text(folder / f"{NAME}.json", json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / f"{NAME}.csv", csv_text([records[0], *(record.values() for record in records)]))
    heading, *lines = ([cell.replace("|", "\\|") for cell in line] for line in _lines(differences, digits=4))
    write_text(folder / f"{NAME}.md", markdown_table(heading, lines, left=3) + "\n")


def _maps(run: Run, known: dict[str, list[PairSet]]) -> list[MapSet]:
    """The maps a run's test wrote; test sets that are looked up are added to those known."""
    key = f"{run.config.data} {run.config.model.modalities} {run.config.test}"
    if key not in known:
        known[key] = scored_sets(run.config.data.test, run.config, "data.test").sets
    return find_method_maps({run.title: run.maps}, known[key])


def _tested(maps: Sequence[MapSet]) -> dict[str, list[str]]:
    return {item.dataset: [pair.stem for pair in item.pairs] for item in maps}


def _lines(differences: Sequence[RowDifference], digits: int) -> list[list[str]]:
    """A heading and the lines below it; the bounds of an interval and the seeds' values have their signs."""
    seeds = differences[0].seeds
    lines = [["set", "difference", "metric", *(f"seed {seed}" for seed in seeds), "mean", "std", "better", "95 %"]]
    for one in differences:
        values = [f"{value:+.{digits}f}" for value in (*one.found.each, one.mean)]
        deviation = "-" if one.deviation is None else f"{one.deviation:.{digits}f}"
        bounds = f"{one.found.low:+.{digits}f} to {one.found.high:+.{digits}f}"
        better = f"{one.better} of {len(seeds)}"
        lines.append([one.found.dataset, one.label, one.found.metric, *values, deviation, better, bounds])
    return lines


def _record(one: RowDifference) -> dict[str, str | float | int | None]:
    """All of it by the names of columns."""
    each = {f"seed {seed}": value for seed, value in zip(one.seeds, one.found.each, strict=True)}
    return {
        "set": one.found.dataset,
        "difference": one.label,
        "first": one.pair.first,
        "second": one.pair.second,
        "metric": one.found.metric,
        **each,
        "mean": one.mean,
        "std": one.deviation,
        "better": one.better,
        "low": one.found.low,
        "high": one.found.high,
    }
