"""The machine this process runs on."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
from pathlib import Path

import torch

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""What glibc's malloc.h calls M_MMAP_THRESHOLD and M_TRIM_THRESHOLD."""


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: torch.device) -> str:
    """What the device calls itself: the GPU's name, or the CPU's with the number of threads PyTorch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def keep_freed_memory() -> bool:
    """Lets tensors of any size be made from memory that this process freed before; false where malloc is not glibc's.

    glibc gets what is larger than 32 MiB from the system every time, and gives it back every time. Then each page of it
    is fetched and cleared anew, which took a third of the time of a forward pass of eight images of 512x512.
    """
    return _set_malloc(mmap_threshold=1 << 30, trim_threshold=(1 << 31) - 1)


def give_freed_memory_back() -> bool:
    """The opposite: a tensor of 1 MiB or more is given back as soon as it is freed; false where malloc is not glibc's.

    For work that holds many small objects, as tracing does: left among them, freed tensors leave gaps that fit no other
    tensor, and counting what the large model costs took 1.4 to 2.2 GB in the place of 0.5.
    """
    return _set_malloc(mmap_threshold=1 << 20, trim_threshold=1 << 20)


def _set_malloc(mmap_threshold: int, trim_threshold: int) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, mmap_threshold)) and bool(mallopt(_TRIM_THRESHOLD, trim_threshold))


def reset_peak_memory(device: torch.device) -> bool:
    """Makes `peak_memory_gib` count from now on; false where the system does not let a process do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: forget the peak of the resident set
    except OSError:
        return False
    return True


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory of this process in GiB: the GPU's allocations, or the resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
