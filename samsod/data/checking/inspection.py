"""Reads the files of pairs as training does, on several processes, and says what they hold and what is wrong."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from samsod.config.data_schema import ModalityConfig
from samsod.data.decoding.images import Bytes, cv2, decode_stored, read_truth
from samsod.data.decoding.modality import read_modality
from samsod.data.pair_images import read_images
from samsod.data.sources.catalog import Pair
from samsod.utils.errors import UserError

Read = TypeVar("Read")


class PairFacts(NamedTuple):
    """What one pair's files hold.

    Attributes:
        stem: Its stem.
        faults: One line for every reason why it cannot be used, each naming a file.
        unreadable: How many of its files cannot be read.
        sizes_differ: Whether its files differ in size.
        size: Width and height of the reference image; None when it cannot be read.
        formats: The files' formats by their endings, by modality and map.
        kinds: Bits and channels, such as `16 bit`, of the images that can be read, by modality; photographs left out.
        mask: The values of the mask: `0/255`, `0/1`, `0/255 soft` ...; empty when it cannot be read.
        empty: Whether nothing is salient (of scribbles: no foreground is marked).
        stray: Whether strokes on the foreground lie outside the labelled region.
        digest: SHA-256 of the reference image's decoded pixels; empty when it cannot be read.
    """

    stem: str
    faults: tuple[str, ...]
    unreadable: int
    sizes_differ: bool
    size: tuple[int, int] | None
    formats: dict[str, str]
    kinds: dict[str, str]
    mask: str
    empty: bool
    stray: bool
    digest: str


def inspect_pair(pair: Pair, modalities: Mapping[str, ModalityConfig]) -> PairFacts:
    """Reads all files of a pair. Nothing is raised for a bad file: it is one of the facts."""
    faults: list[str] = []
    read = {
        name: _attempt(partial(read_modality, config=modalities[name]), path, faults)
        for name, path in pair.images.items()
    }
    truth, labelled = (
        _attempt(read_truth, path, faults) if path else None for path in (pair.ground_truth, pair.labelled)
    )
    unreadable = len(faults)
    shapes = {image.shape[:2] for image in (*read.values(), truth, labelled) if image is not None}
    if not unreadable and (len(shapes) > 1 or pair.labelled):
        _attempt(lambda _: read_images(pair, modalities), pair.reference, faults)
    both = truth is not None and labelled is not None and truth.shape == labelled.shape
    reference = next(iter(read.values()))
    stored = [name for name, image in read.items() if image is not None and modalities[name].scale != "cut"]
    return PairFacts(
        pair.stem,
        tuple(faults),
        unreadable,
        len(shapes) > 1,
        None if reference is None else (reference.shape[1], reference.shape[0]),
        {name: _format(path) for name, path in pair.files.items()},
        {name: _kind(decode_stored(pair.images[name])[0]) for name in stored},
        "" if truth is None else _mask_values(decode_stored(pair.ground_truth)[0]),
        truth is not None and not truth.any(),
        bool(both and (truth & ~labelled).any()),  # type: ignore[operator]
        "" if reference is None else _digest(reference),
    )


def inspect_pairs(
    pairs: Sequence[Pair], modalities: Mapping[str, ModalityConfig], processes: int
) -> Iterator[PairFacts]:
    """Inspects pairs, in order.

    Args:
        pairs: The pairs.
        modalities: How the image of each modality is read.
        processes: How many processes read them; 0: one for each core this process may use, 1: this one.

    Raises:
        RuntimeError: One of the processes was killed.
    """
    count = min(processes or _cores(), len(pairs))
    if count <= 1:
        yield from (inspect_pair(pair, modalities) for pair in pairs)
        return
    pool = ProcessPoolExecutor(count, initializer=_prepare, initargs=(os.getpid(),))
    try:
        with _uninterrupted():
            facts = pool.map(inspect_pair, pairs, repeat(modalities), chunksize=8)
        yield from facts
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts Ctrl-C off to the block's end: a pool that is cut short while it starts cannot be shut down."""
    asked: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if asked:
        raise KeyboardInterrupt


def _prepare(parent: int) -> None:
    """Of each process: Ctrl-C and SIGTERM are its parent's business, and it ends when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _attempt(read: Callable[[Path], Read], path: Path, faults: list[str]) -> Read | None:
    try:
        return read(path)
    except UserError as error:
        faults.append(str(error))
        return None


def _format(path: Path) -> str:
    return {".jpeg": "jpg", ".tiff": "tif"}.get(path.suffix.lower(), path.suffix.lower()[1:])


def _kind(image: npt.NDArray[np.generic]) -> str:
    bits = f"{image.dtype.itemsize * 8} bit{' float' if image.dtype.kind == 'f' else ''}"
    if image.ndim == 2:
        return bits
    sample = image[::4, ::4, :3].astype(np.float64)
    grey = np.abs(sample - sample[..., :1]).max() <= 2
    return f"{bits} x3" if grey else f"{bits} colour"


def _mask_values(image: npt.NDArray[np.generic]) -> str:
    plane = image if image.ndim == 2 else image[..., 1]
    brightest = int(plane.max())
    if brightest <= 1:
        return "0/1" if brightest else "0"
    white = 255 if brightest <= 255 else 65535
    pure = np.count_nonzero(plane == 0) + np.count_nonzero(plane == white) == plane.size
    return f"0/{white}" if pure else f"0/{white} soft"


def _digest(image: Bytes) -> str:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
