"""The table of every comparison."""

from __future__ import annotations

import csv
import io
import math

import pytest

from samsod.evaluation.tables.comparison import Comparison, Row, difference

OURS = Row(
    "ours_1",
    {"VT821": {"images": 821, "S": 0.91234, "MAE": 0.0201}, "VT1000": {"images": 1000, "S": 0.95, "MAE": 0.01}},
    spread={"VT821": {"S": 0.0041}},
    cost={"params_M": 224.148, "fps": 5.25, "watt": 300},
)
OTHER = Row("b & c|d", {"VT821": {"images": 821, "S": 0.91233, "MAE": 0.019}})
THIRD = Row("third", {"VT821": {"images": 821, "S": 0.9, "MAE": 0.05}})
PAPER = Row("ours_1", {"VT821": {"S": 0.92, "MAE": 0.018}}, reported=True, cost={"params_M": 224.1})
ROWS = [OURS, OTHER, THIRD, PAPER, difference(OURS, PAPER)]


def cells(table: str, line: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[line].strip("|").split(" | ")]


def test_text_has_a_line_for_each_method_of_a_set() -> None:
    lines = Comparison(ROWS).text().splitlines()
    assert lines[0].split("  ")[0] == "set" and "S↑" in lines[0] and "MAE↓" in lines[0]
    assert lines[0].split()[-4:] == ["params", "(M)", "FPS", "watt"]
    assert [line.split("  ")[0] for line in lines[2:-1]] == ["VT821"] * 5 + ["VT1000"]
    assert lines[2].split()[2:] == ["0.9123", "±", ".0041*", "0.0201+", "224.1", "5.25", "300.0"]
    assert lines[3].split()[-5:] == ["0.9123*", "0.0190*", "-", "-", "-"]
    assert lines[5].split()[1:5] == ["ours_1", "(reported)", "0.920", "0.018"]
    assert lines[6].split()[1:5] == ["difference", "-0.0077", "+0.0021", "+0.05"]
    assert lines[-1] == "* best, + second best"


def test_equal_digits_share_a_place_and_the_next_is_second() -> None:
    four = Comparison([OURS, OTHER, THIRD])
    assert [cells(four.markdown(), line)[1] for line in (2, 3, 4)] == [
        "**0.9123** ± .0041",
        "**0.9123**",
        "<u>0.9000</u>",
    ]
    three = Comparison([OURS, OTHER, THIRD], digits=3)
    assert [cells(three.markdown(), line)[2] for line in (2, 3, 4)] == ["<u>0.020</u>", "**0.019**", "0.050"]


def test_a_figure_alone_in_its_column_is_not_marked() -> None:
    assert cells(Comparison([OURS, OTHER]).markdown(), 2)[3] == "0.9500"
    assert "*" not in Comparison([OURS]).text()


def test_reported_values_are_ranked_only_when_asked() -> None:
    plain, ranked = (Comparison(ROWS, rank_reported=asked).markdown() for asked in (False, True))
    assert cells(plain, 5)[:3] == ["ours\\_1 (reported)", "0.920", "0.018"]
    assert cells(ranked, 5)[1:3] == ["**0.920**", "**0.018**"]
    assert cells(ranked, 3)[1:3] == ["<u>0.9123</u>", "<u>0.0190</u>"]
    assert cells(ranked, 6)[1] == "-0.0077"


def test_metrics_can_be_chosen_and_unknown_ones_come_last() -> None:
    odd = Row("m", {"a": {"odd": 1.0, "MAE": 0.5, "S": 0.25}})
    assert cells(Comparison([odd]).markdown(), 0) == ["method", "a S↑", "a MAE↓", "a odd↑"]
    assert cells(Comparison([odd], metrics=("MAE",)).markdown(), 0) == ["method", "a MAE↓"]


def test_missing_and_undefined_values_are_never_best() -> None:
    rows = [
        Row("x", {"a": {"S": math.nan}}),
        Row("y", {"a": {"S": 0.5}}),
        Row("z", {"a": {}}),
        Row("v", {"a": {"S": 0.4}}),
    ]
    assert [cells(Comparison(rows).markdown(), i)[1] for i in (2, 3, 4, 5)] == [
        "nan",
        "**0.5000**",
        "-",
        "<u>0.4000</u>",
    ]


def test_latex_is_grouped_escaped_and_needs_no_package() -> None:
    lines = Comparison(ROWS).latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[2] == r" & \multicolumn{2}{c}{VT821} & \multicolumn{2}{c}{VT1000} &  &  &  \\"
    assert lines[3].startswith(
        r"Method & S $\uparrow$ & MAE $\downarrow$ & S $\uparrow$ & MAE $\downarrow$ & params (M)"
    )
    assert lines[5].startswith(r"ours\_1 & \textbf{0.9123} $\pm$ .0041 & \underline{0.0201} & 0.9500 & 0.0100 & 224.1 ")
    assert lines[6].startswith(r"b \& c\textbar{}d & \textbf{0.9123} & \textbf{0.0190} & - & - & - ")
    assert lines[9].startswith(r"difference & $-0.0077$ & $+0.0021$")
    assert all(line.count(" & ") == 7 for line in lines[3:4] + lines[5:10])
    assert not any(rule in "\n".join(lines) for rule in ("toprule", "midrule", "usepackage"))


def test_latex_may_colour_the_best_three() -> None:
    fourth = Row("fourth", {"VT821": {"S": 0.8, "MAE": 0.05}})
    lines = Comparison([OURS, OTHER, THIRD, fourth]).latex(colours=True).splitlines()
    assert lines[0] == r"% needs \usepackage{xcolor}" and lines[1].startswith(r"\begin{tabular}")
    assert r" \textcolor{red}{0.9123} $\pm$ .0041 & \textcolor{green}{0.0201} & " in lines[6]
    assert lines[8].startswith(r"third & \textcolor{green}{0.9000} & \textcolor{blue}{0.0500} &")
    assert lines[9].startswith(r"fourth & \textcolor{blue}{0.8000} & \textcolor{blue}{0.0500} &")


def test_errors_are_best_when_small() -> None:
    rows = [Row(name, {"a": {"minBER": value, "maxIoU": value}}) for name, value in (("x", 0.1), ("y", 0.2))]
    assert cells(Comparison(rows).markdown(), 0) == ["method", "a minBER↓", "a maxIoU↑"]
    assert cells(Comparison(rows).markdown(), 2)[1:] == ["**0.1000**", "<u>0.1000</u>"]


def test_csv_keeps_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(Comparison(ROWS, digits=3).csv())))
    assert [(row["method"], row["kind"], row["set"]) for row in rows] == [
        ("ours_1", "measured", "VT821"),
        ("ours_1", "measured", "VT1000"),
        ("b & c|d", "measured", "VT821"),
        ("third", "measured", "VT821"),
        ("ours_1", "reported", "VT821"),
        ("difference", "difference", "VT821"),
    ]
    assert float(rows[0]["S"]) == 0.91234 and float(rows[0]["S_std"]) == 0.0041 and rows[0]["images"] == "821"
    assert rows[2]["params_M"] == "" and "MAE_std" not in rows[0]


def test_a_difference_has_the_values_both_have() -> None:
    row = difference(OURS, Row("p", {"VT821": {"S": 0.92, "maxF": 0.9}, "other": {"S": 1.0}}, reported=True))
    assert row.scores == {"VT821": {"S": pytest.approx(-0.00766)}} and row.cost == {}
    assert difference(OURS, OURS).scores["VT1000"] == {"S": 0, "MAE": 0}
    assert "0.0000" in cells(Comparison([difference(OURS, OURS)]).markdown(), 2)
