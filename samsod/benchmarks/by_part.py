"""Forward pass and training step by part, in turns with the machine's matrix product and with the plain network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import torch

from samsod.benchmarks.counts import counted
from samsod.benchmarks.model import forward_pass
from samsod.benchmarks.plain import PlainTraining
from samsod.benchmarks.step import SURGERY, WAIT, SteppedTrainer, random_batch
from samsod.benchmarks.surgery import surgery_works
from samsod.benchmarks.timing import Spread, Work, in_turns, ratio, seconds_of, spread
from samsod.config import Config
from samsod.engine.compiling import OFF, compile_parts, plain_form
from samsod.modeling.samsod import SaliencyModel, build_model
from samsod.modeling.shortened import shortened
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.machine import device_name, peak_memory_gib, reset_peak_memory
from samsod.utils.precision import TYPES, autocast

MATRIX, FORWARD, STEP = "matrix", "forward", "step"
PLAIN_FORWARD, PLAIN_STEP = "plain forward", "plain step"
UNCOMPILED_FORWARD, UNCOMPILED_STEP = "uncompiled forward", "uncompiled step"
OTHERS = {
    "plain": {FORWARD: PLAIN_FORWARD, STEP: PLAIN_STEP},
    "uncompiled": {FORWARD: UNCOMPILED_FORWARD, STEP: UNCOMPILED_STEP},
}
"""What ours is compared with, as its figures are called: what is timed beside each of ours."""
SIDE = 2048
"""Of the square matrices whose product tells the machine's rate."""
Times = Mapping[str, list[float]]
"""Seconds of each round by what was timed."""


class MatrixProduct(NamedTuple):
    """Products of two square matrices of `SIDE`, whose rate no forward pass is expected to exceed."""

    work: Work
    macs: int
    kind: torch.dtype


def measure(
    config: Config,
    device: torch.device,
    rounds: int,
    seconds: float = math.inf,
    stepped: SteppedTrainer | None = None,
    reference: bool = False,
) -> dict[str, Any]:
    """Times everything once a round, so that all meet the same disturbances; what is compiled, uncompiled too.

    Args:
        config: The run's config; a step has `train.batch_size` images over all ranks, a forward pass one.
        device: This rank's device.
        rounds: Rounds.
        seconds: No further round starts when so much time has passed.
        stepped: The trainer whose steps are timed; None: the forward pass alone is.
        reference: Time the plain network too.

    Returns:
        Plain values for JSON, explained in docs/benchmark.md; each spread has median, low and high (the quartiles), and
        runs.

    Raises:
        UserError: There is no plain form of what is configured, or a setting cannot be used.
    """
    if reference and distributed.world_size() > 1:
        raise UserError("--reference compares on one process; start it without torchrun")
    model = stepped.trainer.model if stepped else compile_parts(build_model(config.model).to(device), config.engine)
    matrix = matrix_product(device, config.engine.precision)
    network = shortened(stepped.trainer.network if stepped else model, config.engine.precision)
    forward = _in_evaluation(network, forward_pass(network, config.model.image_size, config.engine.precision))
    works: dict[str, Work] = {MATRIX: matrix.work, FORWARD: forward}
    figures: dict[str, Any] = {FORWARD: _launched(forward, device)}
    parts: list[dict[str, float]] = []
    if stepped:
        figures[STEP] = _launched(stepped.step, device)
        works[STEP] = lambda: parts.append(stepped.timed_step())
        works |= surgery_works(stepped.trainer.hook)
    if config.engine.compile != OFF:
        works[UNCOMPILED_FORWARD] = _uncompiled(model, forward)
        works |= {UNCOMPILED_STEP: _uncompiled(model, stepped.take)} if stepped else {}
    if reference:
        works |= _plain_works(config, device, model, with_step=stepped is not None)
    for name in works.keys() - {FORWARD, STEP}:
        works[name]()  # the others have been warmed up
    times = in_turns(works, device, rounds, seconds)
    figures[MATRIX] = {
        "flops_per_second": spread([2 * matrix.macs / taken for taken in times[MATRIX]])._asdict(),
        "type": str(matrix.kind).removeprefix("torch."),
    }
    add_times(figures[FORWARD], times, matrix, FORWARD)
    if stepped:
        add_times(figures[STEP], times, matrix, STEP, [part.get(WAIT, 0.0) for part in parts])
        figures[STEP] |= _by_part(parts, times[STEP], stepped.images)
        figures["surgery"] = {
            name: spread(times[name])._asdict() for name in surgery_works(stepped.trainer.hook) if name in times
        }
    return {**figures, "device": device_name(device), "precision": config.engine.precision, **_ranks()}


def _ranks() -> dict[str, int]:
    return {"ranks": distributed.world_size()}


def matrix_product(device: torch.device, precision: str) -> MatrixProduct:
    """A product in float32; on a GPU in the type of the forward pass, and many, or launching one would be timed."""
    kind = TYPES[precision] if device.type == "cuda" else torch.float32
    count = 50 if device.type == "cuda" else 1
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(SIDE, SIDE, generator=generator).to(device, kind) for _ in range(2))
    return MatrixProduct(lambda: [first @ second for _ in range(count)], count * SIDE**3, kind)


def _in_evaluation(model: SaliencyModel, forward: Work) -> Work:
    """The forward pass with the model in evaluation mode, which is then again what it was."""

    def work() -> None:
        before = model.training
        model.eval()
        forward()
        model.train(before)

    return work


def _uncompiled(model: SaliencyModel, work: Work) -> Work:
    """The same with the model in its plain form."""

    def uncompiled() -> None:
        with plain_form(model):
            work()

    return uncompiled


def _launched(work: Work, device: torch.device) -> dict[str, Any]:
    """Runs it twice: to warm up and see its peak of memory, then counting."""
    is_its_own = reset_peak_memory(device)
    first = seconds_of(work, device)
    memory = {"peak_memory_gib": peak_memory_gib(device), "peak_since_start": not is_its_own, "first_seconds": first}
    return {**memory, **asdict(counted(work))}


def _plain_works(config: Config, device: torch.device, model: SaliencyModel, with_step: bool) -> dict[str, Work]:
    plain = PlainTraining(config, device, model.state_dict())
    batch = random_batch(config, device)
    one = {name: values[:1] for name, values in batch.items()}

    def forward() -> None:
        with torch.inference_mode(), autocast(device, config.engine.precision):
            plain.network(one)

    return {PLAIN_FORWARD: forward, **({PLAIN_STEP: lambda: plain.step(batch)} if with_step else {})}


def add_times(
    figures: dict[str, Any], times: Times, matrix: MatrixProduct, ours: str, waits: list[float] | None = None
) -> None:
    """Adds seconds, and how many times longer it took than its own multiply-adds at the rate of the matrix product.

    Both of the same round; what was waited for data does not count. Likewise how many times longer than ours the plain
    network takes, and the model uncompiled, where they were timed.
    """
    floors = [taken * figures["macs"] / matrix.macs for taken in times[MATRIX]]
    worked = [taken - wait for taken, wait in zip(times[ours], waits or [0.0] * len(times[ours]), strict=True)]
    figures["seconds"] = spread(times[ours])._asdict()
    figures["floor_seconds"] = spread(floors)._asdict()
    figures["to_floor"] = ratio(worked, floors)._asdict()
    for key, others in OTHERS.items():
        if (other := others[ours]) in times:
            figures[f"{key}_seconds"] = spread(times[other])._asdict()
            figures[f"{key}_to_ours"] = ratio(times[other], worked)._asdict()


def _by_part(parts: list[dict[str, float]], totals: list[float], images: int) -> dict[str, Any]:
    """Seconds of each part, and what share of the step surgery is."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    surgery = [sum(part.get(name, 0.0) for name in SURGERY) for part in parts]
    rate: Spread = spread([images / total for total in totals])
    return {
        "images": images,
        "images_per_second": rate._asdict(),
        "parts": {name: spread([part.get(name, 0.0) for part in parts])._asdict() for name in names},
        "surgery_share": ratio(surgery, [sum(part.values()) for part in parts])._asdict(),
    }
