from __future__ import annotations

from samsod.evaluation.tables.text import results_rows, results_table, text_table

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


def test_the_best_map_of_a_set_is_marked_and_further_columns_follow() -> None:
    results = {"final": {"a": SCORES | {"minBER": 0.2}}, "rgb": {"a": {"S": 0.6, "MAE": 0.4, "minBER": 0.3}}}
    heading, final, rgb = results_rows(results, strong="*{}".format)
    assert heading[:4] == ["set", "map", "images", "S↑"] and heading[-2:] == ["MAE↓", "minBER↓"]
    assert (final[3], final[-2:], rgb[3], rgb[-2:]) == (
        "0.5000",
        ["0.5000", "*0.2000"],
        "*0.6000",
        ["*0.4000", "0.3000"],
    )
    assert (rgb[2], rgb[4], final[4]) == ("-", "-", "0.5000")  # nothing to be better than


def test_columns_are_aligned() -> None:
    lines = text_table(["name", "x"], [["a", "1.0"], ["long name", "10.0"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2] == "a           1.0"
