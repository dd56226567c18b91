from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from samsod.engine.log import RunLog
from samsod.utils.progress import duration, progress
from tests.places import ROOT


def test_rows_of_steps_taken_again_are_dropped(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.row({"step": step})
        if step == 2:
            log.row({"step": 2, "validation": {"S": 0.5}})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a crash in the middle of a row
    log.forget_after(2, evaluated_step=2)
    log.row({"step": 3, "again": True})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 1}, {"step": 2}, {"step": 2, "validation": {"S": 0.5}}, {"step": 3, "again": True}]
    log.forget_after(2, evaluated_step=1)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 1}, {"step": 2}]


def test_lines_go_to_the_terminal_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunLog(tmp_path).line("hello")
    assert capsys.readouterr().out == "hello\n"
    assert (tmp_path / "log.txt").read_text().endswith(" hello\n")


def test_a_reader_that_has_gone_does_not_end_the_run(tmp_path: Path) -> None:
    """As of `| head`: with a stdout of its own, whose other end is closed."""
    code = (
        "import sys, pathlib; from samsod.engine.log import RunLog; log = RunLog(pathlib.Path(sys.argv[1]))\n"
        "for i in range(3): log.line(f'line {i}')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0
    assert [line.split()[-1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["0", "1", "2"]


def test_without_a_folder_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(None)
    log.line("hello")
    log.row({"step": 1})
    log.forget_after(0, 0)
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (90000, "25:00:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_progress_passes_everything_on() -> None:
    assert list(progress(iter(range(5)), 5, "x")) == [0, 1, 2, 3, 4]


def test_figures_that_are_not_finite_become_null(tmp_path: Path) -> None:
    RunLog(tmp_path).row({"step": 1, "loss": float("nan"), "groups": {"decoder": {"norm": float("inf")}}})
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row == {"step": 1, "loss": None, "groups": {"decoder": {"norm": None}}}


def test_tensorboard_gets_every_figure(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = RunLog(tmp_path, tensorboard=True)
    for step in (1, 2):
        log.row({"step": step, "loss": step / 2, "groups": {"decoder": {"norms": {"rgb": 0.25}}}, "ratio": None})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]
    assert set(events.Tags()["scalars"]) == {"loss", "groups/decoder/norms/rgb"}
    RunLog(tmp_path, tensorboard=True, step=1).row({"step": 2, "loss": 7.0})  # resumed at step 1
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 7.0)]
