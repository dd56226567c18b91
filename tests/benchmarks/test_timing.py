from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from samsod.benchmarks import timing
from samsod.benchmarks.timing import Timeline, in_turns, ratio, spread

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times that the clock is read at, to be filled in."""
    times: list[float] = []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: times.pop(0))
    return times


def test_spread_is_median_and_quartiles() -> None:
    assert spread([4, 1, 3, 2, 5]) == (3, 2, 4, 5)
    assert spread([7]) == (7, 7, 7, 1) and spread([1, 2]).scaled(10) == (15, 12.5, 17.5, 2)


def test_ratios_are_of_the_same_round() -> None:
    # The second round was disturbed ten times over: the medians' ratio would be 20 / 5.
    assert ratio([2, 20, 40], [1, 10, 5]).median == 2


def test_works_take_turns(clock: list[float]) -> None:
    order: list[str] = []
    clock.extend([0, 0, 1, 1, 3, 3, 3, 4, 4, 8, 8])  # the start, then two times for each work, and one after each round
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    assert in_turns(works, CPU, 5, seconds=5) == {"a": [1, 1], "b": [2, 4]}
    assert order == ["a", "b", "a", "b"], "a third round would start after the limit"


def test_all_ranks_stop_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([False, True])
    monkeypatch.setattr(timing.distributed, "gather_objects", lambda mine: [next(said), mine])
    times = in_turns({"a": lambda: None}, CPU, 9, seconds=-1)
    assert len(times["a"]) == 2, "this rank alone would have stopped after one round"


def test_time_belongs_to_the_innermost_part(clock: list[float]) -> None:
    clock.extend([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    timeline = Timeline(CPU)

    def work() -> Iterator[None]:
        timeline.enter("outer")
        with timeline.inside("inner"):
            timeline.enter("deep")  # as a gradient's hook does, in the middle of a backward pass
            yield
        timeline.enter("last")

    list(work())
    assert timeline.seconds() == {"outer": 1 + 4, "inner": 2, "deep": 3, "last": 5}
