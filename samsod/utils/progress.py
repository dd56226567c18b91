"""How far a long piece of work is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def duration(seconds: float) -> str:
    """Seconds as `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Passes `items` on and shows how far they are, with an eta: one updated line on a terminal, else now and then.

    Under torchrun only rank 0 shows anything.
    """
    started = shown = time.monotonic()
    terminal, shows = sys.stderr.isatty(), os.environ.get("RANK", "0") == "0"
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if not shows or (count < total and now - shown < (0.2 if terminal else 30)):
            continue
        if not terminal and count == total and now - started < 30:
            continue
        shown = now
        eta = duration((now - started) / count * (total - count))
        print(f"{label}: {count}/{total} eta {eta}", end="\r" if terminal else "\n", file=sys.stderr, flush=True)
    if terminal and shows:
        print(file=sys.stderr)
