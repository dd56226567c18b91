"""Requests to stop: SIGTERM, as clusters send before they take a machine back, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from samsod.utils import distributed

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ECHO_SECONDS = 3.0
"""Under torchrun, how long after a signal another one is taken for its echo: a cluster signals all processes of a job,
and torchrun hands on to its ranks what it gets itself."""


class StopRequest:
    """Whether this process was asked to stop; asked a second time it ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._first = 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes signals as requests while the block runs; only the main thread can listen."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        if self.asked and under_torchrun and time.monotonic() - self._first < ECHO_SECONDS:
            return
        if self.asked or not under_torchrun:
            for other in SIGNALS:  # the next one ends the process wherever it is, even waiting for another rank
                signal.signal(other, signal.SIG_DFL)
        if self.asked:
            signal.raise_signal(number)
        self.asked, self._first = True, time.monotonic()
        if sys.stderr is not None and distributed.is_main():
            with contextlib.suppress(OSError, ValueError):
                # Past sys.stderr, which may be in the middle of a line.
                os.write(sys.stderr.fileno(), b"asked to stop: saves first, once this step is done; again: at once\n")
