"""tools/eval_maps.py as a user runs it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samsod.data.decoding.images import cv2
from samsod.data.pictures import write_png
from samsod.utils.files import locked
from tests.places import HANG
from tests.tools.test_commands import ROOT, command, fault

GOLDEN = ROOT / "tests" / "evaluation" / "maps" / "golden_maps"
GOLDEN_VALUES: dict[str, Any] = json.loads((GOLDEN / "results.json").read_text())
METHODS = ("--pred", GOLDEN / "close", "--pred", GOLDEN / "soft")
SETS = ("--gt", f"Shapes-1={GOLDEN / 'truths' / 'Shapes-1'}", "--gt", GOLDEN / "truths" / "edges")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder stays out of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg"


def test_golden_maps_have_the_references_values_in_every_format(tmp_path: Path, own_cache: Path) -> None:
    outputs = ("--json", "--output", tmp_path / "out")
    for _ in range(2):  # scored, then looked up
        done = command("eval_maps", *METHODS, *SETS, *outputs)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        results = json.loads(done.stdout)
        for method, by_set in GOLDEN_VALUES.items():
            for dataset, values in by_set.items():
                assert results[method][dataset] == pytest.approx(values, rel=0, abs=1e-9)
            weighted = sum(values["S"] * values["images"] for values in by_set.values()) / 9
            assert results[method]["Overall"]["S"] == pytest.approx(weighted, abs=1e-9)
        assert list(results["close"]) == ["Shapes-1", "edges", "Overall"]
    assert len([path for path in own_cache.rglob("*") if path.is_file()]) == 18
    written = tmp_path / "out"
    assert json.loads((written / "results.json").read_text()) == results
    assert "**" in (written / "results.md").read_text() and "<u>" in (written / "results.md").read_text()
    assert r"\textbf{" in (written / "results.tex").read_text()
    rows = (written / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 3 and repr(results["close"]["edges"]["S"]) in rows[2]


def test_one_folder_of_maps_and_one_of_masks(own_cache: Path) -> None:
    folders = ("--pred", GOLDEN / "soft" / "edges", "--gt", GOLDEN / "truths" / "edges")
    done = command("eval_maps", *folders, "--no-weighted-f", "--no-cache", "--threads", 2, "--digits", 3)
    assert done.returncode == 0, done.stderr
    heading, _, row = done.stdout.splitlines()
    assert heading.split() == ["set", "method", "S↑", "maxF↑", "meanF↑", "adpF↑", "maxE↑", "meanE↑", "adpE↑", "MAE↓"]
    values = GOLDEN_VALUES["soft"]["edges"]
    assert row.split()[:4] == ["edges", "edges", f"{values['S']:.3f}", f"{values['maxF']:.3f}"]
    assert not own_cache.exists()


def test_two_runs_at_once_share_a_cache(tmp_path: Path) -> None:
    line = [sys.executable, ROOT / "tools" / "eval_maps.py", *METHODS, *SETS, "--json", "--cache", tmp_path / "c"]
    runs = [subprocess.Popen(list(map(str, line)), stdout=subprocess.PIPE, cwd=ROOT) for _ in range(3)]
    outputs = {run.communicate(timeout=HANG)[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0, 0] and len(outputs) == 1
    assert not list(tmp_path.rglob("*.partial"))


def png(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def corrupt(data: bytes) -> bytes:
    return data[:60] + bytes(60) + data[120:]


GREY = np.arange(25 * 38, dtype=np.uint8).reshape(25, 38)
BAD_MAPS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "colour": ("black.png", lambda: png(np.dstack([GREY, GREY, GREY[::-1]])), "three channels differ (by up to"),
    "float": ("black.tiff", lambda: bytes(cv2.imencode(".tiff", GREY.astype(np.float32))[1]), "holds float32 values"),
    "16 bits": ("black.png", lambda: png(GREY.astype(np.uint16) * 256 + 1), "16-bit values that are no 8-bit ones"),
    "a pixel wider": ("black.png", lambda: png(np.pad(GREY, ((0, 0), (0, 1)))), "is 39x25, but its truth"),
    "a pixel lower": ("black.png", lambda: png(GREY[1:]), "is 38x24, but its truth"),
    "truncated": ("black.png", lambda: truncated(png(GREY)), "the image is truncated"),
    "corrupt": (
        "black.png",
        lambda: corrupt(png(np.random.RandomState(0).randint(0, 256, (25, 38)).astype(np.uint8))),
        "damaged",
    ),
    "empty": ("black.png", lambda: b"", "the file is empty"),
}


@pytest.mark.parametrize("name", BAD_MAPS)
def test_a_map_that_cannot_be_scored_is_named(name: str, tmp_path: Path) -> None:
    file, make, message = BAD_MAPS[name]
    folder = shutil.copytree(GOLDEN / "soft" / "edges", tmp_path / "maps")
    (folder / "black.png").unlink()
    (folder / file).write_bytes(make())
    done = command("eval_maps", "--pred", folder, "--gt", GOLDEN / "truths" / "edges", "--output", tmp_path / "out")
    fault(done, str(folder / file), message)
    assert done.stdout == "" and [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_8_bits_stored_as_16_or_in_three_channels_score_the_same(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN / "soft" / "edges", tmp_path / "edges")
    for i, path in enumerate(sorted(folder.iterdir())):
        grey = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert grey is not None
        path.write_bytes(png(grey.astype(np.uint16) * 257 if i % 2 else np.dstack([grey] * 3)))
    done = command("eval_maps", "--pred", folder, "--gt", GOLDEN / "truths" / "edges", "--json", "--no-cache")
    assert json.loads(done.stdout)["edges"]["edges"] == pytest.approx(GOLDEN_VALUES["soft"]["edges"], rel=0, abs=1e-9)


def test_faults_of_folders_are_all_named_and_nothing_is_scored(tmp_path: Path, own_cache: Path) -> None:
    folder = shutil.copytree(GOLDEN / "soft" / "edges", tmp_path / "maps")
    (folder / "black.png").rename(folder / "blank.png")
    (tmp_path / "empty").mkdir()
    done = command("eval_maps", "--pred", folder, "--pred", tmp_path / "empty", "--gt", GOLDEN / "truths" / "edges")
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == "" and len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    assert "no map for 1 of the 5 masks" in lines[0] and "black" in lines[0]
    assert "1 of its 5 maps have no mask" in lines[1] and "blank" in lines[1]
    assert str(tmp_path / "empty") in lines[2] and "holds no image" in lines[2]
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


def test_a_truth_that_is_no_mask_is_named(tmp_path: Path) -> None:
    truths = shutil.copytree(GOLDEN / "truths" / "edges", tmp_path / "edges")
    (truths / "black.png").write_bytes(png(GREY))
    done = command("eval_maps", "--pred", GOLDEN / "soft", "--gt", truths)
    fault(done, str(truths / "black.png"), "not a mask")


def alive_in(session: int) -> list[str]:
    """The processes of a session that have not ended."""
    stats = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            stats.append(stat.read_text())
    return [stat for stat in stats if int(stat.rpartition(")")[2].split()[3]) == session and ") Z " not in stat]


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    for folder in ("maps", "masks"):
        (tmp_path / folder).mkdir()
        write_png(tmp_path / folder / "0.png", np.tile(np.arange(1200) > 600, (900, 1)).astype(np.uint8) * 255)
        for i in range(1, 1000):
            (tmp_path / folder / f"{i}.png").hardlink_to(tmp_path / folder / "0.png")
    line = [sys.executable, ROOT / "tools" / "eval_maps.py", "--pred", tmp_path / "maps", "--gt", tmp_path / "masks"]
    for sign, code in ((signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)):
        run = subprocess.Popen(
            [*map(str, line), "--no-cache", "--threads", "3"], cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE
        )
        maps = Path(f"/proc/{run.pid}/maps")
        deadline = time.monotonic() + HANG
        while "cv2" not in maps.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)  # it is at work
        run.send_signal(sign)
        _, err = run.communicate(timeout=HANG)
        assert run.returncode == code and err in (b"", b"interrupted\n"), err
        deadline = time.monotonic() + HANG
        while alive_in(run.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert alive_in(run.pid) == []


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    folders = ("--pred", GOLDEN / "soft" / "edges", "--gt", GOLDEN / "truths" / "edges")
    fault(command("eval_maps"), "--pred")
    fault(command("eval_maps", *folders, "--threads", 0), "--threads", "at least 1")
    fault(command("eval_maps", *folders, "--no-cache", "--cache", tmp_path), "exclude each other")
    fault(command("eval_maps", *folders, "--pred", tmp_path / "edges"), "edges is", "--pred NAME=")
    (tmp_path / "file").write_text("")
    fault(command("eval_maps", *folders, "--output", tmp_path / "file"), "is a file, expected a folder")
    fault(command("eval_maps", *folders, "--cache", tmp_path / "file"), "is a file, expected a folder")
    fault(command("eval_maps", *folders, "--output", "/proc/scores"), "/proc/scores", "cannot write to /proc")
    (tmp_path / "out" / "results.md").mkdir(parents=True)
    fault(command("eval_maps", *folders, "--output", tmp_path / "out"), "results.md")
    with locked(tmp_path / "held"):
        fault(command("eval_maps", *folders, "--output", tmp_path / "held"), "is working in it")
    fault(command("eval_maps", *folders, "--reported", "SAMSOD-tiny"), "measured are edges: name the sets alike")


def test_names_that_are_no_text_or_of_two_lines(tmp_path: Path) -> None:
    """Each folder is scored under its name, and a file without a partner is told in one line."""
    for name in ("caf\udce9", "two\nlines"):
        maps, truths = tmp_path / name / "maps" / name, tmp_path / name / "truths" / name
        shutil.copytree(GOLDEN / "soft" / "edges", maps)
        shutil.copytree(GOLDEN / "truths" / "edges", truths)
        for folder in (maps, truths):
            (folder / "black.png").rename(folder / f"{name}.png")
        done = command("eval_maps", "--pred", maps, "--gt", truths, "--no-cache", "--output", tmp_path / name / "out")
        assert done.returncode == 0 and done.stderr == "", done.stderr
        assert len(done.stdout.splitlines()) == 3
        results = json.loads((tmp_path / name / "out" / "results.json").read_text())
        ((by_set,), values) = results.values(), GOLDEN_VALUES["soft"]["edges"]
        assert next(iter(by_set.values())) == pytest.approx(values, rel=0, abs=1e-9)
        (maps / f"{name}.png").unlink()
        fault(command("eval_maps", "--pred", maps, "--gt", truths, "--no-cache"), "no map for 1 of the 5 masks")
