from __future__ import annotations

import json

import pytest

from samsod.benchmarks.cost import PAPER
from samsod.data.sources.families import FAMILIES
from samsod.evaluation.metrics.saliency import overall
from samsod.evaluation.tables.comparison import Row
from samsod.evaluation.tables.reported import beside_reported, named_rows, on_sets, reported_row, reported_rows
from samsod.utils.errors import UserError
from tests.places import SHARED

SOURCE = SHARED / "paper" / "tables.json"
IMAGES = {"VT821": 821, "VT1000": 1000, "VT5000": 2500}


def test_overall_is_the_mean_weighted_by_images() -> None:
    rows = reported_rows("table1")
    assert len(rows) == 17
    for row in rows:
        sets = {dataset: {**row.scores[dataset], "images": IMAGES[dataset]} for dataset in IMAGES}
        mean = overall(sets)
        for metric, value in row.scores["Overall"].items():
            assert mean[metric] == pytest.approx(value, abs=1.01e-3), (row.method, metric)  # both were rounded


def test_the_rows_of_one_model_agree_between_tables() -> None:
    ours = reported_row("table1", "SAMSOD-large").scores
    last2, last3 = (reported_rows(table)[-1].scores for table in ("table2", "table3"))
    assert last2 == last3 == {dataset: ours[dataset] for dataset in IMAGES}
    assert reported_row("table1", "SAMSOD-tiny").cost["params_M"] == PAPER["tiny"]["params"] / 1e6


def test_figures_are_the_papers() -> None:
    if not SOURCE.is_file():
        pytest.skip(f"needs the paper's tables at {SOURCE}")
    tables = json.loads(SOURCE.read_text())
    for name in (f"table{i}" for i in range(1, 7)):
        (original,) = (rows for key, rows in tables.items() if key.startswith(name))
        for row, source in zip(reported_rows(name), original, strict=True):
            for dataset, figures in row.scores.items():
                where = source if name == "table6" else source[dataset]
                assert figures == {metric: where[metric] for metric in figures}
                assert all(where[metric] is None for metric in {"S", "maxF", "maxE", "MAE"} - figures.keys())


def test_what_the_paper_does_not_have() -> None:
    with pytest.raises(UserError, match=r"no 'table7' .*table6"):
        reported_rows("table7")
    with pytest.raises(UserError, match=r"no 'SAMSOD-lage' .did you mean 'SAMSOD-large'"):
        reported_row("table1", "SAMSOD-lage")


def test_beside_measured_rows() -> None:
    mine = Row("mine", {"VT821": {"S": 0.93, "images": 821}, "own": {"S": 0.5, "images": 3}})
    measured, paper, minus = beside_reported([mine], named_rows(["SAMSOD-tiny"], list(mine.scores)))
    assert measured is mine and paper.reported and set(paper.scores) == {"VT821"}
    assert minus.signed and minus.scores == {"VT821": {"S": pytest.approx(0.93 - 0.913)}}
    several = beside_reported([mine, mine], named_rows(["SAMSOD-tiny", "table3:VA, RGB only"], ["VT821"]))
    assert [row.method for row in several] == ["mine", "mine", "SAMSOD-tiny", "VA, RGB only"]


def test_rows_that_cannot_stand_beside_are_all_named() -> None:
    with pytest.raises(UserError) as caught:
        named_rows(["SAMSOD-tiny", "SAMSOD-huge", "table9:x", "SAMSOD-large"], ["own"])
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "the paper reports SAMSOD-tiny on Overall, VT821, VT1000, VT5000; measured are own: name the sets alike"
    )
    assert "no 'SAMSOD-huge'" in lines[1] and "no 'table9'" in lines[2] and "SAMSOD-large on" in lines[3]


def test_a_mean_over_other_sets_is_left_out() -> None:
    row = reported_row("table1", "SAMSOD-tiny")
    assert list(on_sets(row, ["VT5000", "VT821", "VT1000", "Overall"]).scores) == list(row.scores)
    assert list(on_sets(row, ["VT1000", "VT821", "Overall"]).scores) == ["VT821", "VT1000"]
    assert list(on_sets(row, ["VT821", "VT1000", "VT5000", "own", "Overall"]).scores) == ["VT821", "VT1000", "VT5000"]
    assert on_sets(row, ["own", "other", "Overall"]).scores == {}


def test_sets_are_called_as_results_call_them() -> None:
    known = {family.folders[0] for family in FAMILIES.values() if family.folders} | {"Overall"}
    for table in (f"table{i}" for i in range(1, 7)):
        assert all(row.scores.keys() <= known for row in reported_rows(table)), table
