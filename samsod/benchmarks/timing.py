"""Clocks of the benchmarks: which part of some work its time goes to, on a CPU or a GPU, and medians with spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from samsod.utils import distributed
from samsod.utils.progress import progress

Work = Callable[[], object]


class Spread(NamedTuple):
    """Median and quartiles of some measurements, in the unit these have."""

    median: float
    low: float
    high: float
    runs: int

    def scaled(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.runs)


def spread(values: Sequence[float]) -> Spread:
    """Median, first and third quartile of one value or more."""
    low, median, high = np.percentile(values, [25, 50, 75]).tolist()
    return Spread(median, low, high, len(values))


def ratio(values: Sequence[float], others: Sequence[float]) -> Spread:
    """Spread of the ratios of measurements made in the same rounds, which other programs disturb less than either."""
    return spread([value / other for value, other in zip(values, others, strict=True)])


def synchronize(device: torch.device) -> None:
    """Waits for what the device was given; a CPU does it at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Work, device: torch.device) -> float:
    """Wall-clock seconds of some work, the device's part included."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def in_turns(works: Mapping[str, Work], device: torch.device, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each work in every round, one after the other, so that all meet the same disturbances.

    Args:
        works: What is timed, by name; a first time to warm up is the caller's business.
        device: What the work waits for.
        rounds: Rounds.
        seconds: No further round starts when so much time has passed, on rank 0 if there are several.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    started = time.perf_counter()
    for _ in progress(range(rounds), rounds, "timing in turns"):
        for name, work in works.items():
            times[name].append(seconds_of(work, device))
        late = time.perf_counter() - started > seconds
        if distributed.gather_objects(late)[0]:  # or a rank would wait for others that have stopped
            break
    return times


class Timeline:
    """What the time from one mark to the next belongs to.

    On a GPU a mark is an event among the work it was given, so that marking waits for nothing; seconds are then the
    GPU's, gaps in which it waits for the host included.

    Args:
        device: What does the work.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[tuple[str, float | torch.cuda.Event]] = []

    def enter(self, part: str) -> None:
        """From now on time belongs to `part`."""
        self._marks.append((part, self._now()))

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Time of the block belongs to `part`, then again to what it belonged to before."""
        before = self._marks[-1][0]
        self.enter(part)
        yield
        self.enter(before)

    def seconds(self) -> dict[str, float]:
        """Seconds by part up to now; all marks are forgotten."""
        self.enter("")
        synchronize(self.device)
        totals: dict[str, float] = {}
        for (part, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            totals[part] = totals.get(part, 0.0) + _between(start, end)
        self._marks = []
        return totals

    def _now(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def _between(start: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float) and isinstance(end, float)
        return end - start
    return start.elapsed_time(end) / 1e3
