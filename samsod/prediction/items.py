"""What is predicted, one scene after the other, whatever it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from samsod.data.pair_images import Source


class Item(NamedTuple):
    """A scene to predict.

    Attributes:
        stem: The name of its map, without ending.
        called: What messages call it.
        images: By given modality, the reference first, a file or a frame (`[H,W,3]`, red first).
        faults: Why it cannot be predicted, a line each.
    """

    stem: str
    called: str
    images: Mapping[str, Source]
    faults: Sequence[str] = ()


class Items(Protocol):
    """Scenes in their order.

    Attributes:
        modalities: Which any of them has an image of, the reference first.
        unmatched: A line on each file or folder of files that cannot be predicted for want of partners.
        notes: Lines on what is unusual about them, and what is done about it.
        rate: How many a second a video of them shows; None where nothing says it.
    """

    modalities: Sequence[str]
    unmatched: Sequence[str]
    notes: Sequence[str]
    rate: float | None

    def stems(self) -> Iterator[str]:
        """The stems of all, as far as they are known beforehand."""
        ...

    def read(self, wanted: Callable[[int, str], bool]) -> Iterator[Item]:
        """The wanted ones in their order, one after the other.

        Args:
            wanted: Whether one is, from its number from 0 and its stem.
        """
        ...
