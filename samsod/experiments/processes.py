"""Processes that do not outlive the one that started them, and how it is stopped itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

SAVE_SECONDS = 300.0
"""How long a command that was asked to stop may take to save."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent ends."""
# Looked up here, for between fork and exec no library may be loaded.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Stopped(Exception):
    """The runs end before they are finished: asked to, or because a command failed. What was under way was saved."""


def end_with(parent: int) -> None:
    """Called in a new process: it gets SIGTERM when its parent ends, even by SIGKILL.

    (On Linux; elsewhere the process goes on, and holds the lock on its folder.)
    """
    if _prctl:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before this was asked for
        os._exit(1)


@dataclass
class Signals:
    """What `stoppable` has heard: how many signals, and whether the runs are being stopped already."""

    heard: int = 0
    stopping: bool = False


@contextlib.contextmanager
def stoppable() -> Iterator[Signals]:
    """While the block runs, SIGTERM, Ctrl-C and a closed terminal raise `Stopped`; what comes later is counted."""
    signals = Signals()

    def hear(number: int, frame: FrameType | None) -> None:
        signals.heard += 1
        if signals.heard == 1 and not signals.stopping:
            raise Stopped("asked to stop")

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup sets it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(processes: Sequence[subprocess.Popen[Any]], signals: Signals) -> None:
    """Asks process groups to save and end, and waits; kills them at a further signal, or when they take too long."""
    signals.stopping = True
    enough = min(signals.heard, 1) + 1
    running = [process for process in processes if process.poll() is None]
    _signal(running, signal.SIGTERM)
    if running:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"stopping {len(running)} runs, which save first", file=sys.stderr, flush=True)
    end = time.monotonic() + SAVE_SECONDS
    while running and signals.heard < enough and time.monotonic() < end:
        time.sleep(0.05)
        running = [process for process in running if process.poll() is None]
    _signal(running, signal.SIGKILL)


def _signal(processes: Sequence[subprocess.Popen[Any]], number: signal.Signals) -> None:
    """Signals the commands' process groups; SIGKILL also those of their children, which torchrun starts in groups."""
    for process in processes:
        children = _children(process.pid) if number == signal.SIGKILL else []
        for group in (process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def _children(parent: int) -> list[int]:
    """The processes a process has started, on Linux."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == parent:
                children.append(int(path.parent.name))
    return children
