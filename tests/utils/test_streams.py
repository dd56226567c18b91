"""What happens to stdout and stderr ends no tool; each test is a process or a few, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import HANG

TOOL = """
import os, sys
from pathlib import Path
from samsod.utils.errors import UserError, run_main

def main():
    for i in range(20_000):
        print(f"line {i} S\u2191 0.9 \u00b1 0.1 caf\u00e9 \\udcff", flush=i % 100 == 0)
    print("a note \u2191", file=sys.stderr, flush=True)
    os.system("echo from a child")
    Path(sys.argv[1]).write_text("done")
    if len(sys.argv) > 2:
        raise UserError("a\\nb", "c \u2191")

run_main(main)
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


class Shell:
    """Runs the tool in a line of bash: `$TOOL`; its exit code is the tool's."""

    def __init__(self, folder: Path) -> None:
        (folder / "tool.py").write_text(TOOL, encoding="utf-8")
        self.file = folder / "file"
        self.tool = f"{sys.executable} {folder / 'tool.py'} {self.file}"

    def __call__(self, line: str, **environment: str) -> tuple[int, str, str]:
        self.file.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            env={**os.environ, "TOOL": self.tool, "PYTHONIOENCODING": "", **environment},
            timeout=HANG,
        )
        return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ("$TOOL | head -1", 1, 1),
        ("$TOOL 2>&1 | true", 0, 0),
        ("$TOOL >&-", 0, 1),
        ("$TOOL 2>&-", 20_001, 0),
        ("$TOOL <&- >&- 2>&-", 0, 0),
        ("PYTHONUNBUFFERED=1 $TOOL | head -1", 1, 1),
        ("$TOOL 2>/dev/full", 20_001, 0),
    ],
)
def test_a_stream_that_nobody_reads_does_not_count(shell: Shell, line: str, out: int, err: int) -> None:
    code, printed, said = shell(line)
    assert code == 0 and shell.file.read_text() == "done"
    assert (len(printed.splitlines()), len(said.splitlines())) == (out, err), said


def test_the_exit_code_of_a_mistake_stays(shell: Shell) -> None:
    assert shell("$TOOL mistaken 2>&1 | true")[0] == 2
    code, _, err = shell("$TOOL mistaken >&-", PYTHONIOENCODING="ascii")
    assert code == 2 and err.splitlines()[1:] == ["error: a\\nb", "error: c \\u2191"]


def test_what_the_encoding_lacks_is_escaped(shell: Shell) -> None:
    code, out, err = shell("$TOOL", PYTHONIOENCODING="ascii")
    assert code == 0, err
    assert out.startswith("line 0 S\\u2191 0.9 \\xb1 0.1 caf\\xe9 \\udcff\n") and err == "a note \\u2191\n"
    code, out, _ = shell("$TOOL", PYTHONIOENCODING="latin-1")
    assert code == 0 and out.startswith("line 0 S\\u2191 0.9 ± 0.1 café \\udcff\n")


def test_a_full_disk_under_stdout_is_told(shell: Shell) -> None:
    code, _, err = shell("$TOOL >/dev/full")
    assert (code, err) == (1, "error: standard output: No space left on device\n")
