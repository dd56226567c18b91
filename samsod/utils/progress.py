"""How far a long piece of work is."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

EVERY = 30.0
"""Seconds between two lines where stderr is no terminal."""


class _Bar(tqdm):
    monitor_interval = 0  # no thread of its own: this process may fork


_Bar.set_lock(threading.RLock())  # tqdm's default is a semaphore of the system's, which outlives a killed process


class _Lines:
    """A file to tqdm that gets every state of the bar as a line."""

    def write(self, text: str) -> None:
        if text.strip():
            with contextlib.suppress(OSError):
                print(text.strip(), file=sys.stderr, flush=True)

    def flush(self) -> None:
        pass


def duration(seconds: float) -> str:
    """Seconds as `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Passes `items` on and shows how far they are, with an eta: a bar on a terminal, else a line now and then.

    Under torchrun only rank 0 shows anything.
    """
    return iter(_bar(items, label, total))


@contextlib.contextmanager
def byte_progress(label: str, start: int, total: int) -> Iterator[Callable[[int], object]]:
    """Shows how far bytes are, as `progress` does items; gives what to tell how many more have come."""
    with _bar(None, label, total, initial=start, unit="B", unit_scale=True) as bar:
        yield bar.update


def _bar(items: Iterable[Any] | None, label: str, total: int, **form: Any) -> _Bar:
    hidden = sys.stderr is None or sys.stderr.closed or os.environ.get("RANK", "0") != "0"
    if hidden or sys.stderr.isatty():
        return _Bar(items, label, total, disable=hidden, dynamic_ncols=True, **form)
    return _Bar(items, label, total, file=_Lines(), mininterval=EVERY, miniters=1, delay=EVERY, ncols=100, **form)
