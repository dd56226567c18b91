"""docs/eval_maps.md: every command run as a reader would, and its table of metrics against the code."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from samsod.config.schema import TestConfig
from samsod.evaluation.metrics.choice import STANDARD, chosen_metrics, find_metric
from samsod.evaluation.metrics.saliency import SaliencyMetrics
from samsod.registry import METRICS
from tests.pages import fenced
from tests.places import ROOT

TEXT = (ROOT / "docs" / "eval_maps.md").read_text(encoding="utf-8")
COMMANDS = fenced(TEXT, "sh")
OTHERS = ("--record-xlsx", "--record-txt", "--include-methods", "--exclude-datasets")
"""PySODEvalToolkit's options."""
GOLDEN = ROOT / "tests" / "evaluation" / "maps" / "golden_maps"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page's commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(GOLDEN / "close" / "edges", "maps/ours")
    shutil.copytree(GOLDEN / "soft" / "edges", "maps/other")
    for places in (("datasets/VT821/GT",), ("datasets/clips/a/GT", "datasets/clips/b")):
        for place in places:
            shutil.copytree(GOLDEN / "truths" / "edges", place)
    for video in "ab":
        shutil.copytree(GOLDEN / "soft" / "edges", f"maps/videos/{video}")
    Path("maps/third").mkdir()
    for path in (GOLDEN / "soft" / "edges").iterdir():
        shutil.copy(path, f"maps/third/m_{path.stem}_sal.png")
    Path("small.txt").write_text("small\npixel\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_written(
    command: str, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--xlsx" in command:
        pytest.importorskip("openpyxl")
    python, tool, *arguments = shlex.split(command.replace("\\\n", ""))
    assert (python, tool) == ("python", "tools/eval_maps.py")
    monkeypatch.setattr(sys, "argv", ["eval_maps.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    out, err = capsys.readouterr()
    assert not stopped.value.code, err
    assert ("clips per video" in out, "VT821:small" in out) == ("clips" in command, "--group" in command)


def test_a_metric_of_ones_own_is_computed_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in ("_entries", "_places"):
        monkeypatch.setattr(METRICS, kept, dict(getattr(METRICS, kept)))
    (source,) = fenced(TEXT, "python")
    exec(compile(source, "my_area.py", "exec"), {})
    truth = np.eye(8, dtype=bool)
    metrics = SaliencyMetrics(chosen_metrics(["area"]))
    metrics.step(truth.astype(np.uint8) * 255, truth)
    assert metrics.result()["area"] == 1 / 8


def test_the_table_has_every_metric_and_its_columns() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|", TEXT, re.MULTILINE)
    assert {name: tuple(columns.replace("`", "").split()) for name, columns in rows} == {
        name: find_metric(name).columns for name in METRICS.names()
    }


def test_help_and_settings_name_every_metric(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["eval_maps.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "tools" / "eval_maps.py"), run_name="__main__")
    helped = capsys.readouterr().out
    source = Path(str(sys.modules[TestConfig.__module__].__file__)).read_text()
    for name in set(METRICS.names()) - set(STANDARD):
        assert re.search(rf"\b{name}\b", helped) and re.search(rf"\b{name}\b", source), name
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT):
        assert option in (*helped.split(), "--reference", *OTHERS), option
