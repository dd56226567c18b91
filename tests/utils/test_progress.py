from __future__ import annotations

import io
import sys

import pytest

from samsod.utils import progress as module
from samsod.utils.progress import duration, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress("abc", 3, "reading")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")  # over before the first line was due
    monkeypatch.setattr(module, "EVERY", 0.0)
    assert list(progress(iter("abc"), 3, "reading")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err
    lines = err.splitlines()
    assert all(line.startswith("reading: ") for line in lines)
    assert [part for part in ("1/3", "2/3", "3/3") if any(part in line for line in lines)] == ["1/3", "2/3", "3/3"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress("abc", 3, "reading")) == ["a", "b", "c"]
    text = terminal.getvalue()
    assert text.startswith("\rreading:") and "3/3" in text and text.endswith("\n") and text.count("\n") == 1


@pytest.mark.parametrize("hidden", ["rank", "closed", "none"])
def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(module, "EVERY", 0.0)
    monkeypatch.setattr(sys, "stderr", None if hidden == "none" else terminal)
    if hidden == "rank":
        monkeypatch.setenv("RANK", "1")
    elif hidden == "closed":
        terminal.close()
    assert list(progress("abc", 3, "reading")) == ["a", "b", "c"]
    assert terminal.closed or not terminal.getvalue()


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 61, 36_000)] == ["0:00:00", "0:01:01", "10:00:00"]
