"""What tools/eval_maps.py does beside scoring data sets: on the golden maps, and on real masks when they are there."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import cv2, read_truth
from samsod.data.pictures import write_png
from tests.places import SHARED
from tests.tools.test_eval_maps import GOLDEN, METHODS, SETS
from tests.tools.test_figure_tools import Tool, fault, tool

__all__ = ["tool"]

IMAGES = [
    word for name in ("Shapes-1", "edges") for word in ("--images", f"{name}={GOLDEN / 'truths' / name}")
]  # the masks themselves: images of the right size
ALONE = ("--pred", GOLDEN / "close" / "edges", "--gt", GOLDEN / "truths" / "edges")


def test_everything_at_once(tmp_path: Path, tool: Tool) -> None:
    (tmp_path / "list.txt").write_text("small\npixel.png\n")
    files = ("--output", tmp_path / "out", "--per-image", tmp_path / "new" / "images.csv", "--latex-colours")
    what = ("--metrics", "IoU,ber", "--metrics", "CCM", "--columns", "S,mae,binIoU")
    group = ("--group", f"edges:few={tmp_path / 'list.txt'}")
    pair = ("--paired", "close", "soft", "--resamples", "50")
    for _ in range(2):  # scored, then looked up
        code, out, err = tool("eval_maps", *METHODS, *SETS, *what, *group, *files, *IMAGES, *pair)
        assert code == 0 and err == "", err
    lines = out.splitlines()
    assert lines[0].split() == ["set", "method", "S↑", "MAE↓", "binIoU↑"]
    assert [line.split()[0] for line in lines[2:10]] == [
        *("Shapes-1", "Shapes-1", "edges", "edges", "Overall", "Overall", "edges:few", "edges:few")
    ]
    assert "95 % interval" in lines[12] and len(lines) == 14 + 3 * 3
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"S", "minBER", "adpIoU", "CCM"} < set(results["soft"]["edges:few"]) and "maxBIoU" not in results["soft"][
        "edges"
    ]
    assert r"\textcolor{red}{" in (tmp_path / "out" / "results.tex").read_text()
    rows = list(csv.DictReader((tmp_path / "out" / "paired.csv").open()))
    assert len(rows) == 3 * (9 + 4 + 4 + 1) and float(rows[0]["low"]) <= float(rows[0]["difference"])
    images_csv = list(csv.DictReader((tmp_path / "new" / "images.csv").open()))
    assert len(images_csv) == 18 and images_csv[0]["binIoU"]
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 18


def test_other_metrics_join_what_is_known_and_do_not_change_the_standard_ones(tmp_path: Path, tool: Tool) -> None:
    plain, more, again = (
        json.loads(tool("eval_maps", *ALONE, "--json", *extra)[1])["edges"]["edges"]
        for extra in ((), ("--metrics", "HCE,MSIoU"), ())
    )
    assert plain == again == {name: more[name] for name in plain}
    assert set(more) - set(plain) == {"HCE", "maxMSIoU", "meanMSIoU", "adpMSIoU", "binMSIoU"}
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 5


def test_mistakes_are_one_line(tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(tool("eval_maps", *ALONE, "--metrics", "IuO"), "no metric is called 'IuO' (did you mean 'IoU'?); known: ")
    fault(tool("eval_maps", *ALONE, "--columns", "maxIoU"), "no column is called 'maxIoU' (did you mean 'maxF'?)")
    fault(tool("eval_maps", *ALONE, "--metrics", ","), "expected names, separated by commas")
    fault(tool("eval_maps", *ALONE, "--metrics", "CCM"), "--images DIR")
    fault(tool("eval_maps", *ALONE, "--paired", "edges", "x"), "no method is called 'x'")
    fault(tool("eval_maps", *ALONE, "--paired", "edges", "edges", "--json"), "--output DIR")
    fault(tool("eval_maps", *ALONE, "--per-image", tmp_path), "is a folder, expected a file")
    fault(tool("eval_maps", *ALONE, "--group", "x"), "expected NAME=LIST")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    fault(tool("eval_maps", *ALONE, "--xlsx", tmp_path / "t.xlsx"), "needs openpyxl: pip install 'samsod[xlsx]'")
    assert not list(tmp_path.rglob("*.csv"))


def test_a_workbook_holds_the_table(tmp_path: Path, tool: Tool) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    fault(tool("eval_maps", *ALONE, "--xlsx", tmp_path / "t.xls"), "ends in .xlsx")
    code, _, err = tool(
        "eval_maps", *METHODS, *SETS, "--metrics", "IoU", "--xlsx", tmp_path / "new" / "t.xlsx", "--output", tmp_path
    )
    assert code == 0, err
    sheet = openpyxl.load_workbook(tmp_path / "new" / "t.xlsx").active
    results = json.loads((tmp_path / "results.json").read_text())
    assert [cell.value for cell in sheet[1] if cell.value] == ["Shapes-1", "edges", "Overall"]
    assert [cell.value for cell in sheet[2]][:3] == ["method", "S↑", "maxF↑"]
    assert [cell.value for cell in sheet[3]][:2] == ["close", results["close"]["Shapes-1"]["S"]]
    assert sheet["B3"].font.bold and sheet["B4"].font.underline == "single" and sheet["B3"].number_format == "0.0000"
    assert not list((tmp_path / "new").glob(".*"))


def test_a_column_that_is_left_out_cannot_be_asked_for(tool: Tool) -> None:
    for name in ("wF", "wf"):
        told = tool("eval_maps", *ALONE, "--no-weighted-f", "--columns", f"S,{name}")
        fault(told, "--columns wF and --no-weighted-f exclude each other")
    assert tool("eval_maps", *ALONE, "--no-weighted-f", "--columns", "S,MAE")[0] == 0


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no real images")
def test_real_masks_blurred_less_and_more(tmp_path: Path, tool: Tool) -> None:
    for folder in ("gt", "near", "far"):
        (tmp_path / folder).mkdir()
    masks = sorted((SHARED / "data" / "rgbflow" / "test" / "GT").iterdir())[:6]
    for number, path in enumerate(masks):
        small = cv2.resize(read_truth(path).astype(np.uint8) * 255, (96, 64), interpolation=cv2.INTER_NEAREST)
        write_png(tmp_path / "gt" / f"{path.stem}.png", small)
        for method, width in (("near", 3), ("far", 9)):
            moved = np.roll(cv2.GaussianBlur(small, (0, 0), width), number - 3, 1)
            write_png(tmp_path / method / f"x_{path.stem}.png", moved)
    folders = [f"{name}={tmp_path / name},prefix=x_" for name in ("near", "far")]
    metrics = "IoU,Dice,BER,SI-MAE,SI-F,MSIoU,HCE,CM,BIoU"
    options = ("--metrics", metrics, "--paired", "near", "far", "--resamples", "300", "--output", tmp_path / "out")
    code, _, err = tool("eval_maps", "--pred", folders[0], "--pred", folders[1], "--gt", tmp_path / "gt", *options)
    assert code == 0, err
    rows = {row["metric"]: row for row in csv.DictReader((tmp_path / "out" / "paired.csv").open())}
    better = {metric for metric, row in rows.items() if row["better"] == "near"}
    assert {"S", "maxF", "MAE", "maxIoU", "minBER", "maxSI-F", "SI-MAE", "maxBIoU", "CM"} <= better
