"""The drawing commands: what they write, what they say, how they exit; run in this process, which saves seconds."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.data.decoding.images import read_rgb
from tests.conftest import write_pairs
from tests.drawing.conftest import built_run as built_run
from tests.drawing.conftest import tested_run as tested_run
from tests.drawing.conftest import undrawn as undrawn
from tests.places import ROOT
from tests.runs import write_run

Tool = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    """Runs a tool as a script: exit code, stdout, stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(name: str, *args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name="__main__")
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


def fault(done: tuple[int, str, str], *parts: str) -> None:
    code, _, err = done
    assert code == 2 and err.startswith("error: ") and len(err.splitlines()) == 1, done
    for part in parts:
        assert part in err, err


def test_plot_log(tmp_path: Path, tool: Tool) -> None:
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "run")
    assert tool("plot_log", run, "--figure", "ratio") == (0, f"drawn: {run / 'ratio.png'}\n", "")
    dark = tmp_path / "dark.png"
    assert tool("plot_log", f"with supervision={run}", "--figure", "loss", "--theme", "dark", "--output", dark)[0] == 0
    assert read_rgb(dark)[0, 0].max() < 40 and read_rgb(run / "ratio.png")[0, 0].min() == 255
    alone = write_run(tmp_path / "alone", 20, {"rgb_adapter": ("rgb",), "decoder": ("rgb",)})
    fault(tool("plot_log", alone, "--figure", "ratio"), "alone: no ratio, has the adapters of one")
    fault(tool("plot_log", f"a={run}", f"a={alone}"), "a is", "already; give each a name")
    fault(tool("plot_log", tmp_path / "nowhere"), "metrics.jsonl: no such file")
    fault(tool("plot_log", run, "--output", tmp_path / "a.gif"), "a.gif", ".png, .pdf, .svg")
    fault(tool("plot_log", run, "--figure", "cosine"), "invalid choice: 'cosine'")
    fault(tool("plot_log", run, "--figure", "loss", "--ratio", "rgb/thermal"), "--ratio is for --figure ratio")
    fault(tool("plot_log", run, "--ratio", "rgb"), "no ratio 'rgb' is logged", "known: rgb/thermal")
    fault(tool("plot_log", run, "--metric", "maxG"), "no metric is called 'maxG' (did you mean 'maxF'?)")
    assert not (tmp_path / "a.gif").exists()
    (tmp_path / "folder.png").mkdir()
    fault(tool("plot_log", run, "--output", tmp_path / "folder.png"), "folder.png: is a folder")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    fault(tool("plot_log", run, "--output", tmp_path / "gone" / "a.png"), "is a link to", "nowhere, which is not there")


def test_plot_curves_and_plot_grid(tmp_path: Path, tool: Tool) -> None:
    pytest.importorskip("matplotlib")
    data = write_pairs(tmp_path / "data", 4, seed=2)
    shutil.copytree(data / "GT", tmp_path / "exact")
    truths, maps = f"mine={data / 'GT'}", f"exact={tmp_path / 'exact'}"
    curves, grid = tmp_path / "new" / "curves.pdf", tmp_path / "grid.png"
    assert tool("plot_curves", "--pred", maps, "--gt", truths, "--output", curves, "--figure", "pr")[0] == 0
    assert curves.read_bytes().startswith(b"%PDF")
    fault(tool("plot_curves", "--pred", maps, "--gt", truths, "--output", curves, "--lowest", "1"), "--lowest")
    fault(tool("plot_curves", "--pred", maps, "--output", curves), "--gt")
    options = ["--data", f"mine={data}", "--pred", maps, "--output", grid]
    assert tool("plot_grid", *options, "--worst", "2", "--width", "3.5")[1] == f"drawn: {grid}\n"
    assert read_rgb(grid).shape[1] == 1050
    fault(tool("plot_grid", *options, "--images", "000", "00l"), "no image '00l' in mine")
    fault(tool("plot_grid", *options, "--worst", "2", "--width", "100000"), "--width: expected 3.5 to 100 inches")
    fault(tool("plot_grid", *options, "--worst", "0"), "worst: expected at least 1 image")
    fault(tool("plot_grid", *options), "--images", "--worst")
    fault(tool("plot_grid", *options, "--images", "000", "--scores", "F"), "no metric is called 'F'")
    fault(tool("plot_grid", *options[2:], "--images", "000"), "--data", "--config")


def test_plot_activations(tmp_path: Path, tested_run: Path, tool: Tool) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "maps.svg"
    model = ["--config", tested_run / "config.yaml", "--checkpoint", tested_run / "checkpoints" / "best.pt"]
    options = [*model, "--output", picture, "--blocks", "1"]
    assert tool("plot_activations", *options, "--images", "001")[1] == f"drawn: {picture}\n"
    assert picture.read_bytes().startswith(b"<?xml")
    fault(tool("plot_activations", *options, "--images", "01"), "no image '01'", "did you mean")
    fault(tool("plot_activations", *options), "--images", "--pair")
    rgb = tmp_path / "four" / "RGB" / "001.png"
    thermal = tmp_path / "four" / "T" / "001.png"
    assert tool("plot_activations", *options, "--pair", f"rgb={rgb}", f"thermal={thermal}")[0] == 0
    for pair in ([f"rgb={rgb}"], ["rgb", "thermal"], [f"rgb={rgb}", "rgb=", f"thermal={thermal}"], [f"rgb={rgb}"] * 2):
        said = f"--pair {' '.join(pair)}: expected a file of each modality in order: rgb=FILE thermal=FILE"
        fault(tool("plot_activations", *options, "--pair", *pair), said)
    one = tool("plot_activations", "model.modalities=[rgb]", *options, "--pair", "rgb")
    fault(one, "--pair rgb: expected a file of each modality in order: rgb=FILE (")
    fault(tool("plot_activations", *options[:-1], "9", "--images", "001"), "no block 9")


def test_make_report(tmp_path: Path, tested_run: Path, undrawn: None, tool: Tool) -> None:
    pytest.importorskip("matplotlib")
    code, out, _ = tool("make_report", tested_run, "--output", tmp_path / "new" / "page.html", "--images", "1")
    assert code == 0 and out.startswith(f"written: {tmp_path / 'new' / 'page.html'} (")
    assert (tmp_path / "new" / "page.html").read_text().endswith("</html>\n")
    fault(tool("make_report", tmp_path / "nowhere"), "nowhere: no such folder")
    fault(tool("make_report", tested_run, "--output", tmp_path), "is a folder, expected a file")
    fault(tool("make_report", tested_run, "--images", "0"), "--images")
    (tested_run / "metrics.jsonl").write_text("")
    fault(tool("make_report", tested_run), "no step is logged yet")
    assert not (tested_run / "report.html").exists()


def test_plot_shift(tmp_path: Path, tested_run: Path, tool: Tool) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "new" / "shift.png"
    model = ["--config", tested_run / "config.yaml", "--checkpoint", tested_run / "checkpoints" / "best.pt"]
    code, out, _ = tool("plot_shift", *model, "--output", picture, "--pixels", "0,9", "--metric", "MAE")
    assert code == 0 and out.endswith(f"drawn: {picture}\n") and read_rgb(picture).shape[1] == 1050
    heading, _, final, *_ = out.splitlines()
    assert heading.split()[-6:] == ["MAE", "at", "0", "MAE", "at", "9"] and final.split()[1] == "final"
    fault(tool("plot_shift", *model, "--output", tmp_path / "a.gif"), "a.gif", ".png, .pdf, .svg")
    fault(tool("plot_shift", *model, "--output", picture, "--pixels", "0,-2"), "--pixels", "expected a whole number")
    fault(tool("plot_shift", *model, "--output", picture, "--metric", "G"), "no metric is called 'G'")
    fault(tool("plot_shift", *model, "--output", picture, "test.modalities=[rgb]"), "nothing to move", "rgb alone")
