"""Work spread over threads, for what holds no interpreter lock: decoding, counting, encoding, hashing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import repeat
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stages(ExitStack):
    """Generators that take from each other; all are closed when the block ends, however it ends."""

    def add(self, stage: Generator[Item, None, None]) -> Generator[Item, None, None]:
        """One more, which is given back."""
        return self.enter_context(closing(stage))


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, name: str
) -> Generator[Result, None, None]:
    """`work(item)` for every item, in order, done by threads while the next items are made; 0: by this thread.

    Items are taken as they are needed, a few ahead of what was yielded. When the work fails, or the generator is
    closed, no further item is begun, and the threads end. They bear the name.
    """
    if threads == 0:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, name) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:  # else the results of slow work would fill the memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def behind(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The same items, each one when `count` more have been made: a device has work while its last is waited for."""
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def taken_ahead(items: Iterable[Item], threads: int, name: str) -> Generator[Item, None, None]:
    """The same items, taken one after the other by one thread, a few ahead of what was yielded; 0: by this thread."""
    end = object()
    iterator = iter(items)
    with closing(in_threads(lambda _: next(iterator, end), repeat(None), min(1, threads), name)) as taken:
        for item in taken:
            if item is end:
                return
            yield item  # type: ignore[misc]
