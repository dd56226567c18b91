"""A full disk and places that cannot be written to: one line that names them, from every tool that is quick to run."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.runs import write_run

Tool = Callable[..., tuple[int, str]]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    """Runs a tool as a script, in this process: exit code, stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(path: str, *args: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [path, *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / path), run_name="__main__")
        return int(stopped.value.code or 0), capsys.readouterr().err

    return run


def test_a_full_disk_is_named(small_disk: Path, pairs_folder: Path, tool: Tool) -> None:
    masks = pairs_folder / "GT"
    (small_disk / "ballast").write_bytes(b"x" * 120_000)
    for done in (
        tool("data/make_demo_set.py", "--output", small_disk, "--train", 9, "--test", 1, "--size", 320),
        tool("tools/make_scribbles.py", "--gt", masks, "--output", small_disk),
        tool("tools/eval_maps.py", "--gt", masks, "--pred", masks, "--output", small_disk, "--no-cache"),
    ):
        code, err = done
        assert code == 1 and len(err.splitlines()) == 1, err
        assert err.startswith(f"error: {small_disk}/") and err.endswith(": No space left on device\n")
    assert not list(small_disk.glob(".*.partial"))


def test_a_place_that_cannot_be_written_to_is_found_before_the_work(
    tmp_path: Path, pairs_folder: Path, tool: Tool
) -> None:
    masks, run = pairs_folder / "GT", write_run(tmp_path / "run")
    (tmp_path / "link").symlink_to("nowhere")
    there = tmp_path / "link" / "out"
    for done in (
        tool("data/make_demo_set.py", "--output", there),
        tool("tools/make_scribbles.py", "--gt", masks, "--output", there),
        tool("tools/eval_maps.py", "--gt", masks, "--pred", masks, "--output", there),
        tool("tools/plot_log.py", run, "--output", there / "a.png"),
        tool("tools/plot_curves.py", "--gt", masks, "--pred", masks, "--output", there / "a.png"),
        tool("tools/plot_grid.py", "--data", pairs_folder, "--pred", masks, "--worst", 1, "--output", there / "a.png"),
        tool("tools/make_report.py", run, "--output", there / "a.html"),
        tool("tools/run_experiment.py", "table3", "--output", there),
    ):
        code, err = done
        assert code == 2 and len(err.splitlines()) == 1, err
        assert f"{tmp_path / 'link'} is a link to nowhere, which is not there" in err
    assert not (tmp_path / "cache").exists()
