"""Whether a run that goes on from a checkpoint is the run that was never cut off, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from samsod.benchmarks.gpu_check.finding import Finding, Subject, apart, fill_adapters, full_float32
from samsod.benchmarks.step import synthetic_trainer
from samsod.config import Config
from samsod.engine.checkpoint import step_path

STEPS, CUT = 4, 2


def resumed(subject: Subject) -> Iterator[Finding]:
    """Four steps at a stretch, and two after two, in fp32 and in fp16 with its loss scale."""
    with full_float32(), _deterministic():
        for precision in ("fp32", "fp16"):
            yield _resumed(subject, precision)


def _resumed(subject: Subject, precision: str) -> Finding:
    config = subject.with_precision(precision)
    check = f"weights after {STEPS} steps, resumed after {CUT} beside not cut off, {precision}"
    first, whole = subject.folder / f"whole_{precision}", subject.folder / f"resumed_{precision}"
    straight = _weights_after(config, subject.device, first, "never")
    found = _weights_after(config, subject.device, whole, str(step_path(first / "checkpoints", CUT)))
    if torch.equal(found, straight):
        return Finding(check, "passed", "the same bits", "the same bits")
    again = _weights_after(config, subject.device, subject.folder / f"again_{precision}", "never")
    figure = f"{apart(found, straight):.2g}"
    if torch.equal(again, straight):
        return Finding(check, "failed", figure, "the same bits")
    noise = f"two runs that were not cut off differ by {apart(again, straight):.2g}: some kernel does not repeat itself"
    return Finding(check, "skipped", f"{figure}, but {noise}", "the same bits")


def _weights_after(config: Config, device: torch.device, output: Path, resume: str) -> Tensor:
    train = replace(config.train, steps=STEPS, checkpoint_steps=CUT, keep=STEPS, log_every=STEPS, resume=resume)
    run = replace(config, output=str(output), train=replace(train, tensorboard=False))
    trainer = synthetic_trainer(run, device, fill_adapters).trainer
    with redirect_stdout(io.StringIO()):
        trainer.train()
    return torch.cat([p.detach().flatten().cpu() for p in trainer.hook.parameters])


@contextmanager
def _deterministic() -> Iterator[None]:
    """Kernels that repeat their bits, where there are any; tools/gpu_check.py sets what cuBLAS needs for it."""
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
