from __future__ import annotations

from samsod.evaluation.tables.text import results_table, text_table

SCORES = dict.fromkeys(("S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "MAE"), 0.5) | {"images": 12}


def test_results_of_one_map() -> None:
    lines = results_table({"final": {"VT821": {**SCORES, "wF": 0.25}, "Overall": SCORES}}).splitlines()
    assert lines[0].split() == [
        "set",
        "images",
        "S↑",
        "maxF↑",
        "meanF↑",
        "adpF↑",
        "maxE↑",
        "meanE↑",
        "adpE↑",
        "wF↑",
        "MAE↓",
    ]
    assert lines[2].split() == ["VT821", "12", *["0.5000"] * 7, "0.2500", "0.5000"]
    assert lines[3].split()[9] == "-"  # no weighted F


def test_results_of_several_maps_are_rows_under_each_set() -> None:
    lines = results_table({name: {"a": SCORES, "b": SCORES} for name in ("final", "rgb")}).splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [["a", "final"], ["a", "rgb"], ["b", "final"], ["b", "rgb"]]


def test_columns_are_aligned() -> None:
    lines = text_table(["name", "x"], [["a", "1.0"], ["long name", "10.0"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2] == "a           1.0"
