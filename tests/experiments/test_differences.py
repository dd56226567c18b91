from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import read_truth
from samsod.data.pictures import write_png
from samsod.evaluation.metrics.saliency import SaliencyMetrics
from samsod.experiments.differences import differences_text, row_differences, write_differences
from samsod.experiments.plan import Run
from samsod.experiments.table import TableConfig, read_table
from samsod.utils.errors import UserError
from tests.experiments.conftest import Plan


@pytest.fixture
def table(table_file: Path) -> TableConfig:
    with table_file.open("a") as file:
        file.write("compare:\n  - {first: split, second: plain, label: decoupling}\n")
        file.write("  - {first: plain, second: split}\n")
    return read_table(table_file)


def leave_maps(run: Run, pairs: Path, noise: float) -> dict[str, float]:
    """Writes maps of truth and noise, as a test does, and scores them."""
    generator = np.random.default_rng([run.config.seed, round(100 * noise)])
    metrics = SaliencyMetrics()
    for path in sorted((pairs / "GT").iterdir()):
        truth = read_truth(path)
        grey = (255 * ((1 - noise) * truth + noise * generator.random(truth.shape))).astype(np.uint8)
        (run.maps / "pairs").mkdir(parents=True, exist_ok=True)
        write_png(run.maps / "pairs" / f"{path.stem}.png", grey)
        metrics.step(grey, truth)
    return metrics.result()


def test_differences_seed_by_seed(table: TableConfig, plan: Plan, pairs_folder: Path, tmp_path: Path) -> None:
    seeds = (0, 3, 1)
    runs = plan(seeds=seeds)
    noise = {"plain": (0.6, 0.7, 0.7), "split": (0.5, 0.8, 0.6)}
    scores: dict[str, dict[int, dict[str, float]]] = {"plain": {}, "split": {}}
    for run in runs:
        seed = run.config.seed
        scores[run.row.name][seed] = leave_maps(run, pairs_folder, noise[run.row.name][seeds.index(seed)])
    found = row_differences(table, runs)
    assert [(one.label, one.found.metric) for one in found] == [
        (label, metric) for label in ("decoupling", "plain one against split one") for metric in table.metrics
    ]
    for one in found[:4]:
        each = [scores["split"][n][one.found.metric] - scores["plain"][n][one.found.metric] for n in seeds]
        assert one.seeds == seeds and one.found.each == pytest.approx(each, abs=1e-12)
        assert one.mean == pytest.approx(sum(each) / 3) and one.deviation == pytest.approx(statistics.stdev(each))
        assert one.found.low <= one.mean <= one.found.high
    by_metric = {one.found.metric: one for one in found[:4]}
    assert by_metric["S"].better == 2 and by_metric["MAE"].better == 2  # less noise is better, whatever the sign
    assert by_metric["S"].mean == pytest.approx(-found[4].mean) and found[4].better == 1
    write_differences(found, tmp_path)
    rows = list(csv.DictReader((tmp_path / "differences.csv").open()))
    assert len(rows) == 8 and rows[0]["first"] == "split" and float(rows[0]["seed 3"]) == found[0].found.each[1]
    assert json.loads((tmp_path / "differences.json").read_text())[0]["low"] == found[0].found.low
    assert "| 2 of 3 |" in (tmp_path / "differences.md").read_text().splitlines()[2]
    text = differences_text(found)
    assert len(text.splitlines()) == 10 and f"{found[0].mean:+.4f}" in text.splitlines()[2]


def test_of_one_seed_there_is_no_deviation(table: TableConfig, plan: Plan, pairs_folder: Path) -> None:
    runs = plan()
    for run in runs:
        leave_maps(run, pairs_folder, 0.5 if run.row.name == "split" else 0.7)
    found = row_differences(table, runs)
    assert found[0].deviation is None and found[0].found.each == (found[0].mean,)
    assert differences_text(found).splitlines()[2].split()[5:9] == ["-", "1", "of", "1"]


def test_whole_videos_are_drawn(table: TableConfig, plan: Plan, pairs_folder: Path) -> None:
    # Two videos of six frames: of a column that is no maximum a resample has one of three values.
    for folder in pairs_folder.iterdir():
        for i, path in enumerate(sorted(folder.iterdir())):
            path.rename(path.with_name(f"clip_{'ab'[i % 2]}_{i}{path.suffix}"))
    runs = plan()
    for run in runs:
        leave_maps(run, pairs_folder, 0.5 if run.row.name == "split" else 0.7)
    narrow, wide = (
        next(one.found for one in row_differences(table, runs, by_name) if one.found.metric == "MAE")
        for by_name in (False, True)
    )
    assert (narrow.dataset, wide.dataset) == ("pairs", "pairs per video")
    assert wide.each == pytest.approx(narrow.each, abs=1e-12)  # videos of equal length
    assert wide.low + wide.high == pytest.approx(2 * wide.each[0], abs=1e-12)


def test_rows_that_cannot_be_compared(table: TableConfig, plan: Plan, pairs_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("004\n002\n")
    (plain, _), (_, split) = plan(), plan(f"data.test.0.list_file={tmp_path / 'some.txt'}")
    for run in (plain, split):
        leave_maps(run, pairs_folder, 0.5)
    with pytest.raises(UserError, match="compare: split and plain are tested on different images"):
        row_differences(table, [plain, split])
    (plain.maps / "pairs" / "004.png").unlink()
    with pytest.raises(UserError, match="plain seed 0: no map for 1 images of pairs: 004"):
        row_differences(table, [*plan()[:1], split])


def test_nothing_to_compare(plan: Plan, table_file: Path, tmp_path: Path) -> None:
    assert row_differences(read_table(table_file), plan()) == []
    write_differences([], tmp_path / "none")
    assert not (tmp_path / "none").exists()
