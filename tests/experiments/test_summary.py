from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from samsod.evaluation.tables.comparison import Comparison
from samsod.experiments.plan import Run, plan_runs
from samsod.experiments.summary import make_table, measured_row, other_maps, step_times, table_rows
from samsod.experiments.table import RowConfig, TableConfig
from samsod.utils.errors import UserError
from tests.experiments.conftest import Plan


def leave_results(run: Run, results: Mapping[str, Mapping[str, float]]) -> None:
    run.results.parent.mkdir(parents=True, exist_ok=True)
    run.results.write_text(json.dumps(results))


def test_mean_and_sample_deviation_over_seeds(plan: Plan) -> None:
    runs = plan(seeds=(0, 1, 2))[::2]
    for run, value in zip(runs, (0.5, 0.6, 0.8), strict=True):
        leave_results(run, {"pairs": {"S": value, "MAE": 0.1, "images": 12}})
    row = measured_row("plain one", runs)
    assert row.scores["pairs"]["S"] == pytest.approx(1.9 / 3)
    assert row.spread["pairs"]["S"] == pytest.approx(((0.4 / 3) ** 2 + (0.1 / 3) ** 2 + (0.5 / 3) ** 2) ** 0.5 / 2**0.5)
    assert row.spread["pairs"]["MAE"] == 0 and row.scores["pairs"]["images"] == 12
    alone = measured_row("plain one", runs[:1])
    assert alone.scores["pairs"]["S"] == 0.5 and not alone.spread


def test_the_cost_of_a_step_is_the_median_over_the_log_without_start_and_waiting(plan: Plan) -> None:
    runs = plan(seeds=(0, 1))[::2]
    speeds = {0: [(1.0, 0.0), (8.0, 0.5), (4.0, 0.0)], 1: [(2.0, 0.0)]}
    for run in runs:
        leave_results(run, {"pairs": {"S": 0.5, "MAE": 0.1, "images": 12}})
        rows = [{"loss": 1.0, "images_per_second": ips, "data_wait": wait} for ips, wait in speeds[run.config.seed]]
        lines = [json.dumps(row) for row in (*rows, {"step": 3, "validation": {}})]
        (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert step_times(runs[0]) == [250, 1000] and step_times(runs[1]) == [2000]  # batches of four
    row = measured_row("plain one", runs, step_cost=True)
    assert row.cost == {"step_ms": 1000}
    assert "step (ms)" in Comparison([row]).text() and "1000.0" in Comparison([row]).text()
    assert measured_row("plain one", runs).cost == {}


def test_single_streams_are_shown_like_data_sets(plan: Plan) -> None:
    runs = plan(seeds=(0, 1))[::2]
    for run, value in zip(runs, (0.5, 0.7), strict=True):
        scores = {"pairs": {"S": value, "MAE": 0.1, "images": 12}}
        leave_results(run, scores)
        by_stream = {"final": scores, "rgb": {"pairs": {"S": value / 2, "images": 12}}}
        run.streams.write_text(json.dumps(by_stream))
    assert list(measured_row("plain one", runs, streams=True).scores) == ["pairs"]  # the only one is the final one
    for run, value in zip(runs, (0.5, 0.7), strict=True):
        by_stream = json.loads(run.streams.read_text()) | {"thermal": {"pairs": {"S": value / 4, "images": 12}}}
        run.streams.write_text(json.dumps(by_stream))
    row = measured_row("plain one", runs, streams=True)
    assert list(row.scores) == ["pairs", "pairs, stream rgb", "pairs, stream thermal"]
    assert row.scores["pairs, stream rgb"]["S"] == pytest.approx(0.3)
    assert row.scores["pairs"]["S"] == pytest.approx(0.6)
    assert row.spread["pairs, stream thermal"]["S"] == pytest.approx(0.05 / 2**0.5)
    assert list(measured_row("plain one", runs).scores) == ["pairs"]
    runs[0].streams.unlink()
    assert list(measured_row("plain one", runs, streams=True).scores) == ["pairs"]


@pytest.fixture
def paper_table(tmp_path: Path, table_file: Path) -> tuple[TableConfig, list[Run]]:
    """One row that stands beside the paper's SAMSOD-large, tested on two of its sets."""
    table = TableConfig("Table I", "table1", rows=[RowConfig("plain", "mine", "plain.yaml", "SAMSOD-large")])
    runs = plan_runs(table, table_file, [], [], (0,), tmp_path / "runs")
    figures = {"S": 0.93, "maxF": 0.9, "maxE": 0.95, "MAE": 0.02}
    sets = {"VT821": 821, "mine": 12, "Overall": 833}
    leave_results(runs[0], {name: figures | {"images": images} for name, images in sets.items()})
    cost = {"params": 5e6, "macs_fvcore": 2.5e9, "fps": 10.0, "peak_memory_gib": 0.5}
    runs[0].cost.write_text(json.dumps(cost))
    return table, runs


def test_the_papers_row_and_the_difference(paper_table: tuple[TableConfig, list[Run]]) -> None:
    table, runs = paper_table
    mine, paper, minus = table_rows(table, runs, [], all_reported=False)
    assert (mine.method, paper.method, minus.method) == ("mine", "SAMSOD-large", "difference")
    assert paper.reported and paper.scores["VT821"]["S"] == 0.924
    assert minus.scores["VT821"]["S"] == pytest.approx(0.93 - 0.924)
    # The paper's mean is over other sets, for whichever rows it is shown.
    everyone = table_rows(table, runs, [], all_reported=True)
    assert all(set(row.scores) == {"VT821"} for row in everyone if row.reported or row.signed)
    assert mine.cost == {"params_M": 5.0, "flops_G": 2.5, "fps": 10.0, "memory_GiB": 0.5}
    assert minus.cost["params_M"] == pytest.approx(5 - 224.1)
    text = make_table(table, runs, [], all_reported=False).text()
    assert "SAMSOD-large (reported)" in text and "+0.0060" in text
    assert [row.method for row in everyone[:2]] == ["TNet", "HRTransNet"] and everyone[-3].method == "mine"
    assert sum(row.method == "SAMSOD-large" for row in everyone) == 1


def test_sets_the_paper_does_not_have(plan: Plan, table_file: Path) -> None:
    runs = plan()
    for run in runs:
        leave_results(run, {"pairs": {"S": 0.5, "images": 12}})
    table = TableConfig("x", "table3", rows=[RowConfig("plain", "mine", "plain.yaml", "VA, RGB-T")])
    assert [row.method for row in table_rows(table, runs[:1], [], all_reported=True)] == ["mine"]


def test_maps_of_other_methods_for_the_pairs_that_are_tested(plan: Plan, tmp_path: Path, pairs_folder: Path) -> None:
    (tmp_path / "some.txt").write_text("004\n002\n")
    run = plan(f"data.test.0.list_file={tmp_path / 'some.txt'}")[0]
    (maps,) = other_maps(run, [f"exact={pairs_folder / 'GT'}"])  # maps of images that are not tested may be there
    assert (maps.method, maps.dataset) == ("exact", "pairs") and [pair.stem for pair in maps.pairs] == ["004", "002"]
    (pairs_folder / "RGB" / "003.png").write_bytes(b"no image")
    (maps,) = other_maps(plan("data.skip_bad=true")[0], [f"exact={pairs_folder / 'GT'}"])
    assert len(maps.pairs) == 11 and "003" not in {pair.stem for pair in maps.pairs}
    with pytest.raises(UserError, match="nowhere: no such folder; expected the maps of other"):
        other_maps(run, [f"other={tmp_path / 'nowhere'}"])
