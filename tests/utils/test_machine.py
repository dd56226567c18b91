from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
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


_FAULTS = """
import resource, torch
from torch import nn
from samsod.utils.machine import keep_freed_memory
if {kept} and not keep_freed_memory():
    print("unknown")
else:
    layers = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.LayerNorm(64))
    tokens = torch.ones(1 << 16, 64)  # 16 MiB, and 64 in between
    with torch.inference_mode():
        for round in range(12):
            if round == 4:  # the heap has grown to its size, or nearly
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            layers(layers(tokens))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_large_tensors_are_made_from_memory_that_was_freed() -> None:
    """Else every page of them is fetched from the system again."""
    said = [
        subprocess.run([sys.executable, "-c", _FAULTS.format(kept=kept)], capture_output=True, text=True, check=True)
        for kept in (False, True)
    ]
    if "unknown" in said[1].stdout:
        pytest.skip("another malloc than glibc's")
    fetched, again = (int(one.stdout) for one in said)
    if fetched < 8 * (64 << 20) // mmap.PAGESIZE:
        pytest.skip("this glibc keeps them by itself, or the system's pages are huge")
    assert again < fetched / 4


_GAPS = """
import re, torch
from pathlib import Path
from samsod.utils.machine import give_freed_memory_back, keep_freed_memory
def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
if not {change}():
    print("unknown")
else:
    before = held()
    pairs = [(torch.ones(1 << 20), torch.ones(8)) for _ in range(64)]
    small = [pair[1] for pair in pairs]
    del pairs
    print(held() - before)
"""


def test_tensors_freed_among_small_ones_are_given_back() -> None:
    said = []
    for change in ("keep_freed_memory", "give_freed_memory_back"):
        code = _GAPS.format(change=change)
        said.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    if "unknown\n" in said:
        pytest.skip("another malloc than glibc's")
    kept, given_back = map(float, said)
    assert kept > 200 and given_back < 20


def test_where_there_is_no_glibc_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not machine.keep_freed_memory() and not machine.give_freed_memory_back()


def test_where_it_cannot_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "absent" / "file")
    assert not reset_peak_memory(CPU)
