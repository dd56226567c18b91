"""How often the host waits for the device in a training step: never, between log lines."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from samsod.benchmarks.counts import Operators
from samsod.benchmarks.gpu_check.finding import Finding, Subject
from samsod.benchmarks.step import SteppedTrainer, synthetic_trainer

STEPS = 2
SYNCHRONIZES = "synchronizing CUDA operation"
"""What PyTorch's warning says of an operation that waits."""


def host_reads(subject: Subject) -> Iterator[Finding]:
    """Steps in each precision, watched by PyTorch's sync debug mode on a GPU, by the operators launched on a CPU."""
    for precision in ("fp32", "bf16", "fp16"):
        stepped = synthetic_trainer(subject.with_precision(precision), subject.device)
        stepped.step()  # kernels are loaded and memory is taken here, which may wait
        reads = _on_gpu(stepped) if subject.device.type == "cuda" else _on_cpu(stepped)
        places = ", ".join(f"{place} ({count})" for place, count in reads.most_common(5))
        figure = f"{reads.total()}{': ' * bool(places)}{places}"
        yield Finding(f"host reads in {STEPS} steps, {precision}", "failed" if reads else "passed", figure, "0")


def _on_gpu(stepped: SteppedTrainer) -> Counter[str]:
    """Lines that waited, with how often each did."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(STEPS):
                stepped.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{Path(warning.filename).name}:{warning.lineno}" for warning in caught if SYNCHRONIZES in str(warning.message)
    )


def _on_cpu(stepped: SteppedTrainer) -> Counter[str]:
    with Operators() as launched:
        for _ in range(STEPS):
            stepped.step()
    reads = launched.names["_local_scalar_dense"]
    return Counter({"values read": reads}) if reads else Counter()
