"""What the ranks tell each other beside their gradients, and how it reaches the host without stalling the device."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class HostCopy:
    """A small tensor on its way to the host; reading it waits for its own copy, not for the device's later work.

    Args:
        values: The tensor, one-dimensional.
    """

    def __init__(self, values: Tensor) -> None:
        self._arrived = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()
        else:
            self._values = values.detach().clone()

    def read(self) -> list[float]:
        """The values."""
        if self._arrived is not None:
            self._arrived.synchronize()
        # Through NumPy: reading a tensor's value would look like waiting for the device, to a reader and to a test.
        return [float(value) for value in self._values.numpy()]


class StopRequest:
    """Whether this process was asked to stop (SIGTERM, as clusters send before they take a machine back)."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGTERM as a request while the block runs; only the main thread can listen."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked", True))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
