"""Every tool answers `--help` and a mistake in a config without the libraries that take seconds to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.places import HANG, ROOT

ASK = """
import contextlib, io, runpy, sys

root, mistaken = sys.argv[1:]
tools = sorted(__import__("pathlib").Path(root).glob("tools/*.py"))
tools.append(root + "/data/make_demo_set.py")
assert len(tools) > 10
for tool in tools:
    asked = [(["--help"], 0)]
    if "config_parser(" in open(tool).read():
        asked.append((["--config", mistaken, "--checkpoint", "k", "--output", "o"], 2))
    for arguments, expected in asked:
        sys.argv = [str(tool), *arguments]
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                runpy.run_path(str(tool), run_name="__main__")
        except SystemExit as stop:
            assert stop.code == expected, (tool, stop.code, said.getvalue())
        loaded = {"torch", "numpy", "cv2", "matplotlib", "tqdm"} & set(sys.modules)
        assert said.getvalue() and not loaded, (tool, arguments, loaded)
"""


def test_help_and_mistakes_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "mistaken.yaml").write_text("modle: {}")
    command = [sys.executable, "-c", ASK, str(ROOT), str(tmp_path / "mistaken.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=HANG)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "o").exists()
