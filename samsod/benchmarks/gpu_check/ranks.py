"""Whether several ranks, a GPU each with NCCL, or two with gloo on a CPU, compute what one process does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from samsod.benchmarks.gpu_check.finding import Finding, Subject, apart, compared, fill_adapters, full_float32, smoothed
from samsod.benchmarks.gpu_check.numbers import FP32, evaluation_config, scenes
from samsod.benchmarks.step import synthetic_trainer
from samsod.config import Config, ModelConfig
from samsod.engine.launch import launch
from samsod.evaluation.evaluator import evaluate
from samsod.modeling.samsod import FINAL
from samsod.utils.distributed import free_port
from samsod.utils.errors import Failure

STEPS = 2
SUMS = 1e-9
"""What the order of the images may change of a mean in float64."""
LIMIT_SECONDS = 900.0
"""After which ranks are taken to hang, and ended."""


def ranks(subject: Subject) -> Iterator[Finding]:
    """Merged gradient, weights and an evaluation of all ranks beside one process on the same batch."""
    backend = "NCCL" if subject.device.type == "cuda" else "gloo"
    label = f"{subject.ranks} ranks ({backend}) beside one process"
    if subject.ranks < 2:
        yield Finding(label, "skipped", "one GPU: needs two or more")
        return
    train = replace(subject.config.train, batch_size=subject.ranks, accumulate=1, log_every=1)
    config = smoothed(replace(subject.config, train=train))
    with _threads_of_a_rank(subject.ranks):  # on a CPU other sums are other bits
        alone = _work(config, subject.folder / "scenes_of_ranks", subject.device)
    found = _spawned(config, subject.folder, subject.ranks)
    gradients = (apart(rank["gradient"], alone["gradient"]) for rank in found)
    yield compared(f"merged gradient of the first step, {label}", FP32, gradients)
    check, limit = f"weights of the ranks after {STEPS} steps", "the same bits on all"
    if all(torch.equal(rank["weights"], found[0]["weights"]) for rank in found):
        yield Finding(check, "passed", "the same bits", limit)
    else:
        yield Finding(check, "failed", "they differ", limit)
    if alone["scores"] is None:
        return
    differences = (abs(rank["scores"][name] - value) for rank in found for name, value in alone["scores"].items())
    yield compared(f"scores of an evaluation, {label}", SUMS, differences)


@contextmanager
def _threads_of_a_rank(count: int) -> Iterator[None]:
    """This process has the threads that each of `count` ranks would have."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _work(config: Config, folder: Path, device: torch.device) -> dict[str, Any]:
    """What one rank, or one process, has to tell: the first merged gradient, scores with the fresh weights, weights."""
    with full_float32():
        stepped = synthetic_trainer(config, device, fill_adapters)
        scored = None
        if config.model.modalities == ModelConfig().modalities:
            model = stepped.trainer.model.eval()
            scored = evaluate(model, scenes(folder), evaluation_config(config))[FINAL].result()
            model.train()
        stepped.step()
        gradient = stepped.trainer.hook.merged.cpu().clone()
        for _ in range(STEPS - 1):
            stepped.step()
        weights = torch.cat([p.detach().flatten().cpu() for p in stepped.trainer.hook.parameters])
    return {"gradient": gradient, "scores": scored, "weights": weights}


def _spawned(config: Config, folder: Path, count: int) -> list[dict[str, Any]]:
    """What each rank, a process of its own, tells.

    Raises:
        Failure: They did not end in time.
        Exception: One failed.
    """
    context = multiprocessing.spawn(_rank, (count, free_port(), config, folder), nprocs=count, join=False)
    assert context is not None
    deadline = time.monotonic() + LIMIT_SECONDS
    try:
        while not context.join(timeout=1.0):
            if time.monotonic() > deadline:
                raise Failure(f"the ranks did not end in {LIMIT_SECONDS:.0f} s")
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
    return [torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in range(count)]


def _rank(rank: int, count: int, port: str, config: Config, folder: Path) -> None:
    """A rank's process, set up as torchrun would."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    with _threads_of_a_rank(count), launch(config) as device:
        told = _work(config, folder / f"scenes_of_rank_{rank}", device)
    torch.save(told, folder / f"rank_{rank}.pt")
