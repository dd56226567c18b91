from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from samsod.utils.threads import behind, taken_ahead


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_items_come_in_their_order(threads: int) -> None:
    assert list(taken_ahead(range(50), threads, "test")) == list(range(50))
    assert list(taken_ahead([], threads, "test")) == []
    assert list(taken_ahead([None, None], threads, "test")) == [None, None]


@pytest.mark.parametrize("threads", [0, 1])
def test_what_goes_wrong_comes_where_it_belongs(threads: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ZeroDivisionError

    taken = taken_ahead(items(), threads, "test")
    assert [next(taken), next(taken)] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        next(taken)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_item_comes_when_so_many_more_are_made(count: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for index in range(6):
            made.append(index)
            yield index

    for expected, item in enumerate(behind(items(), count)):
        assert item == expected and len(made) == min(expected + 1 + count, 6)
    assert expected == 5


def test_one_thread_takes_a_few_ahead_and_ends() -> None:
    made: list[tuple[int, str]] = []

    def items() -> Iterator[int]:
        for index in range(100):
            made.append((index, threading.current_thread().name))
            yield index

    with closing(taken_ahead(items(), 2, "taker")) as taken:
        assert next(taken) == 0
    assert 1 <= len(made) < 10 and len({name for _, name in made}) == 1 and made[0][1].startswith("taker")
    assert not any(thread.name.startswith("taker") for thread in threading.enumerate())
