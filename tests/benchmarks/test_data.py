from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from samsod.benchmarks.data import LARGE, differences, enlarge, import_pillow, loader_speeds, make_scenes, run
from samsod.config.data_schema import DataConfig
from samsod.data.dataset import PairDataset
from samsod.data.decoding.images import read_rgb, read_truth
from samsod.data.sources.catalog import Pair, PairSet
from samsod.utils.errors import UserError
from tests.conftest import Children
from tests.places import ROOT

pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return make_scenes(tmp_path_factory.mktemp("scenes") / "made", 2)


def test_the_report_has_a_row_for_each_size_and_worker(scenes: list[Pair]) -> None:
    report = run({"scenes": scenes}, [64, 96], 1, [0])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if line[:1] == "|"]
    first, second = rows[2:4], rows[6:]
    assert [row[:2] for row in first] == [row[:2] for row in second] == [["scenes", "64"], ["scenes", "96"]]
    assert all(float(cell) > 0 for row in first for cell in row[2:7])
    assert all(float(cell) > 0 for row in second for cell in row[3:])


def test_loader_processes_end_with_the_measurement(scenes: list[Pair], children: Children) -> None:
    dataset = PairDataset([PairSet("scenes", tuple(scenes))], 64, DataConfig(), augment=False, seed=0)
    speeds = loader_speeds([dataset, dataset], 1, 3)
    assert len(speeds) == 2 and min(speeds) > 0 and not children()
    scenes[1].ground_truth.rename(scenes[1].ground_truth.with_suffix(".gone"))
    with pytest.raises(UserError, match=scenes[1].ground_truth.name) as caught:
        loader_speeds([dataset, dataset], 1, 3)
    scenes[1].ground_truth.with_suffix(".gone").rename(scenes[1].ground_truth)
    assert caught.value.__traceback__ and not children()


def test_enlarged_pairs(scenes: list[Pair], tmp_path: Path) -> None:
    for pair in enlarge(scenes, tmp_path / "large"):
        assert read_rgb(pair.reference).shape == (LARGE[1], LARGE[0], 3) and pair.reference.suffix == ".jpg"
        assert read_truth(pair.ground_truth).shape == (LARGE[1], LARGE[0])
    frames = [replace(pair, stem=f"{video}/0001") for video, pair in zip("ab", scenes, strict=False)]
    assert len({path for pair in enlarge(frames, tmp_path / "frames") for path in pair.files.values()}) == 6


def test_the_pipelines_agree_but_for_the_order(scenes: list[Pair]) -> None:
    """At sizes that no JPEG is reduced to, resizing first makes Pillow's samples ours."""
    dataset = PairDataset([PairSet("scenes", tuple(scenes))], 352, DataConfig(), augment=True, seed=0)
    straight, resized_first = differences(dataset)
    assert max(resized_first.values()) < 1e-3 and max(straight.values()) < 0.05
    assert straight["rgb"] > resized_first["rgb"]


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"^the comparison needs Pillow: pip install pillow$"):
        import_pillow()


def test_arguments_out_of_range() -> None:
    command = [sys.executable, "tools/bench_data.py", "--pairs", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: argument --pairs: expected a whole number of at least 1")
    assert done.stderr.count("\n") == 1
