"""What tools/bench_model.py measures, as plain values for JSON and as lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from samsod.benchmarks.by_part import measure
from samsod.benchmarks.by_part_text import figure_lines
from samsod.benchmarks.cost import cost
from samsod.benchmarks.model import TIMED, batch_lines, time_batches, time_model, timing_lines
from samsod.benchmarks.scaling import backward_macs, block_by_block, row_bytes, scaling, scaling_lines
from samsod.benchmarks.step import SteppedTrainer
from samsod.config import Config
from samsod.engine.compiling import compile_parts
from samsod.modeling.samsod import build_model
from samsod.surgery.hook import GradientHook


class Report(NamedTuple):
    """Figures by name, and the same for people."""

    figures: dict[str, Any]
    lines: str


def forward_report(config: Config, device: torch.device, runs: int, warmup: int, seconds: float) -> Report:
    """A pair's forward pass, with the model's cost."""
    model = build_model(config.model).to(device)
    counts = cost(model, config.model.image_size)
    compile_parts(model, config.engine)
    timing = time_model(model, config.model.image_size, config.engine.precision, runs, warmup, seconds)
    counts.pop("parts")
    head = f"{counts['params'] / 1e6:.3f} M parameters, {counts['macs_fvcore'] / 1e9:.2f} GMAC"
    return Report({**asdict(timing), **counts, "timed": TIMED}, f"{head}\n{timing_lines(timing)}")


def batch_report(config: Config, device: torch.device, batches: Sequence[int], runs: int, seconds: float) -> Report:
    """Images a second at several batch sizes."""
    model = compile_parts(build_model(config.model).to(device), config.engine)
    settings = config.model.image_size, config.engine.precision
    figures = time_batches(model, *settings, batches, runs, seconds)
    return Report({"batches": figures}, batch_lines(figures))


def part_report(
    config: Config,
    device: torch.device,
    runs: int,
    seconds: float,
    trainer: Callable[[], SteppedTrainer] | None,
    reference: bool,
) -> Report:
    """Forward pass and, with a trainer, training step by part; see `by_part.measure`."""
    with closing(trainer()) if trainer else nullcontext() as stepped:
        figures = measure(config, device, runs, seconds, stepped, reference)
    return Report(figures, figure_lines(figures))


def scaling_report(config: Config, links: Sequence[float], rate: float, pairs: int) -> Report:
    """The cost of the reduction on 1 to 64 ranks, calculated.

    Args:
        config: The run's config.
        links: Speeds of a rank's link in 10^9 bytes a second.
        rate: What a rank achieves, in 10^12 floating-point operations a second.
        pairs: Pairs of each rank and step.
    """
    model = build_model(config.model)
    groups = GradientHook(model.parameter_groups(), config.engine.gradient_rule, config.seed).rows.groups
    rows = row_bytes(groups, 2 if config.engine.reduce_dtype == "bf16" else 4)
    parts = cost(model, config.model.image_size)["parts"]
    forward = pairs * sum(counts["macs_with_attention"] for counts in parts.values())
    backward = [pairs * macs for macs in backward_macs(parts, config.model, list(rows))]
    if config.engine.checkpointing == "block":
        rows, backward = block_by_block(rows, backward, pairs, parts)
    table = scaling(rows, forward, backward, rate, links)
    figures = {"row_bytes": rows, "rate": rate, "pairs": pairs, "scaling": table}
    return Report(figures, scaling_lines(table, rows, rate, pairs))
