"""Tensors on their way from a device to the host, beside the work that the device does meanwhile."""

from __future__ import annotations

import time
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

POLL_SECONDS = 0.0005


class HostCopy:
    """A tensor on its way to the host; reading it waits for its own copy, not for the device's later work.

    Args:
        values: The tensor; one that lies on the host already is not copied.
    """

    def __init__(self, values: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._values = values.detach()
        if values.device.type != "cpu":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
            self._values.copy_(values.detach(), non_blocking=True)
        if values.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> npt.NDArray[Any]:
        """The values; they share the copy's memory."""
        while self._arrived is not None and not self._arrived.query():
            time.sleep(POLL_SECONDS)  # synchronize() would keep signals from being heard
        # Through NumPy: reading a tensor's value would look like waiting for the device, to a reader and to a test.
        return self._values.numpy()
