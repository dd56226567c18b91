from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from samsod.utils import machine
from samsod.utils.machine import peak_memory_gib, reset_peak_memory

CPU = torch.device("cpu")


def test_the_peak_of_memory_starts_anew() -> None:
    if not reset_peak_memory(CPU):
        pytest.skip("this system does not let a process forget its peak")
    before = peak_memory_gib(CPU)
    # 256 MiB of pages of our own, given back at once: malloc may serve a tensor from memory that it then keeps.
    with mmap.mmap(-1, 1 << 28) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    high = peak_memory_gib(CPU)
    assert high > before + 0.2
    assert reset_peak_memory(CPU) and peak_memory_gib(CPU) < high - 0.2


def test_where_it_cannot_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "absent" / "file")
    assert not reset_peak_memory(CPU)
