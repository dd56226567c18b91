"""The checking command, run as a user runs it."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import write_pairs
from tests.places import HANG
from tests.tools.test_commands import ROOT, command


def test_a_good_and_a_bad_set(tmp_path: Path) -> None:
    write_pairs(tmp_path / "VT821", 12, seed=0)
    done = command("check_data", "--root", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[0][:4] == ["set", "part", "pairs", "expected"] and table[2][:4] == ["VT821", "12", "821", "48x48"]
    assert "note: VT821: 12 pairs, 821 as published" in done.stdout
    (tmp_path / "VT821" / "T" / "007.png").write_bytes(b"")
    (tmp_path / "VT821" / "GT" / "003.png").unlink()
    done = command("check_data", "--root", tmp_path, "--set", "vt821", "--json", "--processes", "1")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["usable"] is False and report["sets"][0]["pairs"] == 11 and report["sets"][0]["unreadable"] == 1
    assert [f"error: {fault}" for fault in report["faults"]] == done.stderr.splitlines()
    assert done.stderr.count(str(tmp_path / "VT821")) == 3 and "007.png: the file is empty" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_it_leaves_no_process_behind(tmp_path: Path, how: signal.Signals) -> None:
    root = write_pairs(tmp_path / "VT821", 1, seed=0, side=1200)  # large: a minute's reading, so that it is not over
    for folder in ("RGB", "T", "GT"):
        for index in range(1, 1000):
            os.link(root / folder / "000.png", root / folder / f"{index:04d}.png")
    line = [sys.executable, str(ROOT / "tools" / "check_data.py"), "--root", str(tmp_path), "--processes", "2"]
    # A shell that runs the tests in the background ignores SIGINT, and its children would do so too.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True, preexec_fn=heed
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.parent.is_dir():
        pytest.skip("needs /proc")
    started: list[str] = []
    while len(started) < 2:
        assert process.poll() is None
        started = children.read_text().split()
        time.sleep(0.01)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.kill()
    _, error = process.communicate(timeout=HANG)
    if how == signal.SIGINT:
        assert process.returncode == 1 and error.splitlines()[-1] == "interrupted" and "Traceback" not in error
    deadline = time.monotonic() + HANG
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
