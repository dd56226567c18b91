"""How long runs will take, told before they start."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from samsod.config import Config
from samsod.data.selection import scored_sets, training_sets
from samsod.engine.trainer import Trainer
from samsod.experiments.plan import Run
from samsod.experiments.processes import Stopped, end_with
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import build_model
from samsod.registry import import_user_modules
from samsod.utils.progress import duration, progress

START_SECONDS = 10.0
"""Starting the two commands, loading weights and writing checkpoints."""


def estimate(runs: Sequence[Run], device: torch.device, ranks: int) -> dict[str, float]:
    """Seconds each unfinished row's run takes, about: from one of its finished seeds, or from a few timed steps.

    Args:
        runs: The runs; all that still have to be made are estimated.
        device: Where they will run.
        ranks: How many processes share a batch.

    Returns:
        Seconds by row name; loading of images beside the steps is not in it where steps had to be timed.

    Raises:
        UserError: A data set of a run cannot be used, or its model not be built.
        Stopped: The timing was cut off.
    """
    finished = {run.row.name: seconds for run in runs if (seconds := _logged_seconds(run)) is not None}
    wanted = {run.row.name: run for run in runs if run.row.name not in finished and not run.finished()}
    measured = _measure_all(list(wanted.values()), device, ranks)
    return finished | dict(progress(measured, len(wanted), "timing a few steps of every row"))


def plan_lines(runs: Sequence[Run], seconds: dict[str, float], jobs: int) -> list[str]:
    """What will be done, a line for every run, and how long that takes together."""
    width = max(len(run.title) for run in runs)
    lines = []
    for run in runs:
        about = "" if run.finished() else f", about {duration(seconds[run.row.name])}"
        lines.append(f"  {run.title.ljust(width)}  {run.state()}{about}  {run.folder}")
    total = remaining(runs, seconds, jobs)
    left = sum(not run.finished() for run in runs)
    lines.append(f"{left} of {len(runs)} runs to do, about {duration(total)} in all with {jobs} at once")
    return lines


def remaining(runs: Sequence[Run], seconds: dict[str, float], jobs: int) -> float:
    """Seconds until all runs are finished, about; what a run that goes on has behind it is not taken off."""
    left = [seconds[run.row.name] for run in runs if not run.finished()]
    return sum(left) / max(min(jobs, len(left)), 1)


def _logged_seconds(run: Run) -> float | None:
    """What a finished run says it took."""
    path = run.folder / "seconds.json"
    if not (run.finished() and path.is_file()):
        return None
    seconds: float = json.loads(path.read_text(encoding="utf-8"))["seconds"]
    return seconds


def _measure_all(runs: Sequence[Run], device: torch.device, ranks: int) -> Iterator[tuple[str, float]]:
    counts: list[tuple[int, int, int]] = []
    counted: dict[str, tuple[int, int, int]] = {}
    for run in runs:
        # Rows share their sets as a rule, and with data.skip_bad counting them reads every file.
        sets = f"{run.config.data} {run.config.loss}"
        if sets not in counted:
            counted[sets] = _count_pairs(run.config)
        counts.append(counted[sets])
    for run, count, times in zip(runs, counts, _time_all([run.config for run in runs], device, ranks), strict=True):
        yield run.row.name, _whole_run(run.config, count, ranks, *times)


def _time_all(configs: Sequence[Config], device: torch.device, ranks: int) -> Iterator[tuple[float, float]]:
    """`_time_steps` of every config, in a process of its own: a GPU's memory is free again when that has ended."""
    if not configs:
        return
    with ProcessPoolExecutor(1, get_context("spawn"), _prepare, (os.getpid(),)) as pool:
        try:
            yield from pool.map(_time_steps, configs, repeat(device), repeat(ranks))
        except BrokenProcessPool:
            raise Stopped("the process that times the steps was killed, perhaps for want of memory") from None


def _prepare(parent: int) -> None:
    """In the new process: it ends with its parent, and at Ctrl-C without a word."""
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _count_pairs(config: Config) -> tuple[int, int, int]:
    """Pairs to train, to validate and to test on."""
    import_user_modules(config.imports)
    train, val, _ = training_sets(config)
    test = scored_sets(config.data.test, config, "data.test").sets
    train_pairs, val_pairs, test_pairs = (sum(len(item.pairs) for item in sets) for sets in (train, val, test))
    return train_pairs, val_pairs, test_pairs


def _whole_run(config: Config, counts: tuple[int, int, int], ranks: int, step: float, forward: float) -> float:
    """Seconds of a run by its number of images and the time of a step and of a forward pass."""
    pairs, val_pairs, test_pairs = counts
    per_epoch = max(pairs // config.train.batch_size, 1)
    steps = config.train.steps or config.train.epochs * per_epoch
    every = per_epoch * config.train.eval_every
    evaluations = math.ceil(steps / every) if every else 1
    predicted = (val_pairs * evaluations + test_pairs) / ranks
    return START_SECONDS + steps * step + predicted * forward


def _time_steps(config: Config, device: torch.device, ranks: int) -> tuple[float, float]:
    """Seconds of an optimizer step on one rank's share, and of a forward pass of one pair, both of noise.

    On a CPU, where a batch takes as long as its pairs one by one, a step of one pair is timed: it needs less memory.
    """
    import_user_modules(config.imports)
    share, side = max(config.train.batch_size // ranks, 1), config.model.image_size
    timed = 1 if device.type == "cpu" else share
    batch = {name: torch.rand(timed, 3, side, side) for name in (*config.model.modalities, "guide")}
    batch |= {name: torch.ones(timed, 1, side, side) for name in ("ground_truth", "labelled")}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        alone = replace(config, output=str(Path(folder) / "run"), train=replace(config.train, steps=100))
        model, loss = build_model(config.model).to(device), build_loss(config.loss)
        trainer = Trainer(alone, device, model, loss, lambda _: (batch for _ in ()), 100, "timing")
        step = share / timed * _seconds(lambda: trainer.train_step(batch), device)
        model.eval()
        images = {name: batch[name][:1].to(device) for name in model.modalities}

        def predict() -> Tensor:
            with torch.inference_mode():
                return model(images).saliency()

        return step, _seconds(predict, device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The shorter of the second and third call's time; a first call that takes long is taken as it is."""
    times: list[float] = []
    while len(times) < 3 and not (times and times[0] > 5):
        started = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.monotonic() - started)
    return min(times)
