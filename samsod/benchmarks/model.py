"""How fast a model predicts pairs, and what memory that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from samsod.benchmarks.timing import Work, in_turns, seconds_of, spread
from samsod.evaluation.tables.text import text_table
from samsod.modeling.samsod import SaliencyModel
from samsod.modeling.shortened import shortened
from samsod.utils.machine import device_name, peak_memory_gib
from samsod.utils.precision import autocast
from samsod.utils.progress import progress

TIMED = (
    "one forward pass of one pair that lies on the device already, up to the final saliency map at the input's "
    "size; without reading, resizing or writing images"
)


@dataclass(frozen=True)
class Timing:
    """What was measured, and on what."""

    fps: float
    """pairs per second: one over the median time"""
    milliseconds: float
    """median time of a forward pass"""
    milliseconds_10th: float
    """its tenth percentile"""
    milliseconds_90th: float
    """its ninetieth percentile"""
    runs: int
    """timed forward passes"""
    warmup: int
    """forward passes before them"""
    input_size: int
    """side of the square input in pixels; the batch is one pair"""
    precision: str
    """autocast type of the forward pass"""
    device: str
    """the device's name; for a CPU with the number of threads"""
    peak_memory_gib: float
    """of the GPU's allocations since the model was put there, or the process's resident set on a CPU"""


def time_model(
    model: SaliencyModel,
    image_size: int,
    precision: str = "fp32",
    runs: int = 50,
    warmup: int = 5,
    seconds: float = math.inf,
) -> Timing:
    """Times forward passes at batch 1, one after the other, each waited for.

    Args:
        model: The model, on its device; it is put in evaluation mode.
        image_size: Side of the input in pixels.
        precision: Autocast type: fp32, bf16 or fp16.
        runs: Timed forward passes.
        warmup: Forward passes before them, while caches fill and kernels are chosen.
        seconds: Stop early when so much time has passed, after three timed passes at the least.
    """
    assert runs > 0
    model.eval()
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    work, times = forward_pass(model, image_size, precision), []
    for _ in progress(range(warmup + runs), warmup + runs, "timing"):
        times.append(seconds_of(work, device))
        if sum(times) > seconds and len(times) >= warmup + 3:
            break
    times = times[warmup:]
    low, median, high = np.percentile(times, [10, 50, 90])
    return Timing(
        fps=1 / median,
        milliseconds=median * 1e3,
        milliseconds_10th=low * 1e3,
        milliseconds_90th=high * 1e3,
        runs=len(times),
        warmup=warmup,
        input_size=image_size,
        precision=precision,
        device=device_name(device),
        peak_memory_gib=peak_memory_gib(device),
    )


def timing_lines(timing: Timing) -> str:
    """The figures as lines for people, with what was timed."""
    return (
        f"{timing.fps:.3g} FPS: {timing.milliseconds:.1f} ms a pair "
        f"({timing.milliseconds_10th:.1f} to {timing.milliseconds_90th:.1f} ms from the 10th to the 90th percentile)\n"
        f"median of {timing.runs} runs after {timing.warmup}, batch 1, {timing.input_size}x{timing.input_size}, "
        f"{timing.precision}, {timing.device}; peak memory {timing.peak_memory_gib:.2f} GiB\n"
        f"timed: {TIMED}"
    )


def forward_pass(model: SaliencyModel, image_size: int, precision: str, batch: int = 1) -> Work:
    """The forward pass that is timed, of `batch` pairs of noise that lie on the model's device."""
    model, device = shortened(model, precision), next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    images = {
        name: torch.rand(batch, 3, image_size, image_size, generator=generator).to(device) for name in model.modalities
    }

    def work() -> None:
        with torch.inference_mode(), autocast(device, precision):
            model(images).saliency()

    return work


def time_batches(
    model: SaliencyModel, image_size: int, precision: str, batches: Sequence[int], runs: int, seconds: float
) -> list[dict[str, Any]]:
    """Forward passes of several batch sizes in turns.

    Args:
        model: The model, on its device; it is put in evaluation mode.
        image_size: Side of the input in pixels.
        precision: Autocast type.
        batches: Pairs of a forward pass.
        runs: Rounds; in each every size has its turn.
        seconds: No further round starts when so much time has passed.

    Returns:
        For each size `batch`, `images_per_second` and `seconds` of a pass, both spreads.
    """
    model.eval()
    device = next(model.parameters()).device
    works = {str(batch): forward_pass(model, image_size, precision, batch) for batch in batches}
    for batch in sorted(batches):  # upwards, since a compiled model compiles no smaller one than it has
        works[str(batch)]()
    times = in_turns(works, device, runs, seconds)
    return [
        {
            "batch": int(batch),
            "images_per_second": spread([int(batch) / each for each in taken])._asdict(),
            "seconds": spread(taken)._asdict(),
        }
        for batch, taken in times.items()
    ]


def batch_lines(figures: Sequence[Mapping[str, Any]]) -> str:
    """What `time_batches` measured, for people."""
    rows = []
    for row in figures:
        median, low, high, runs = row["images_per_second"].values()
        rows.append([str(row["batch"]), f"{median:.4g}", f"{low:.4g} to {high:.4g}", str(runs)])
    return text_table(["batch", "images/s", "quartiles", "runs"], rows)
