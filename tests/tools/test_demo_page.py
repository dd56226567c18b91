"""The command line of tools/demo_page.py; the page is tested in tests/prediction/page."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from samsod.config import Config
from tests.conftest import Save
from tests.places import HANG, ROOT


def test_it_serves_until_interrupted(config: Config, save: Save) -> None:
    command = [sys.executable, str(ROOT / "tools" / "demo_page.py"), "--checkpoint", str(save(config)), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        try:
            words = process.stdout.readline().split()
            assert words[0] == "open" and words[1].startswith("http://127.0.0.1:")
            with urllib.request.urlopen(words[1], timeout=HANG) as page:
                assert page.status == 200 and b"best.pt" in page.read()
            process.send_signal(signal.SIGINT)
            rest, faults = process.communicate(timeout=HANG)
        finally:
            process.kill()
    assert (process.returncode, rest, faults) == (0, "ended\n", "")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "demo_page.py"), "--checkpoint", str(tmp_path / "none.pt")]
    for extra in (["--port", "70000"], ["--limit", "0"]):
        done = subprocess.run([*command, *extra], capture_output=True, text=True, timeout=HANG)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
