"""Reads the files of pairs as training does, on several processes, and says what they hold and what is wrong."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset, get_worker_info

from samsod.config.data_schema import ModalityConfig, Sizes
from samsod.data.decoding.images import Bytes, decode_stored, read_orientation, read_truth
from samsod.data.decoding.modality import read_modality
from samsod.data.loader import loaded, make_frugal, make_loader
from samsod.data.pair_images import read_images
from samsod.data.sources.catalog import Pair
from samsod.utils.errors import Failure, collected, shown
from samsod.utils.machine import cores

Read = TypeVar("Read")


class PairFacts(NamedTuple):
    """What one pair's files hold.

    Attributes:
        stem: Its stem.
        faults: One line for every reason why it cannot be used, each naming a file.
        unreadable: How many of its files cannot be read.
        sizes_differ: Whether its files differ in size.
        stretched: Whether they differ in proportions too, by more than a hundredth.
        size: Width and height of the reference image; None when it cannot be read.
        formats: The files' formats by their endings, by modality and map.
        kinds: Bits and channels, such as `16 bit`, of the images that can be read, by modality; photographs left out.
        mask: The values of the mask: `0/255`, `0/1`, `0/255 soft` ...; empty when it cannot be read.
        empty: Whether nothing is salient (of scribbles: no foreground is marked).
        stray: Whether strokes on the foreground lie outside the labelled region.
        tagged: Its files with an orientation tag, which is not obeyed.
        digest: SHA-256 of the reference image's decoded pixels; empty when it cannot be read.
    """

    stem: str
    faults: tuple[str, ...]
    unreadable: int
    sizes_differ: bool
    stretched: bool
    size: tuple[int, int] | None
    formats: dict[str, str]
    kinds: dict[str, str]
    mask: str
    empty: bool
    stray: bool
    tagged: tuple[Path, ...]
    digest: str


def inspect_pair(pair: Pair, modalities: Mapping[str, ModalityConfig], sizes: Sizes = "equal") -> PairFacts:
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
        _attempt(lambda _: read_images(pair, modalities, sizes=sizes), pair.reference, faults)
    both = truth is not None and labelled is not None and truth.shape == labelled.shape
    reference = next(iter(read.values()))
    stored = [name for name, image in read.items() if image is not None and modalities[name].scale != "cut"]
    return PairFacts(
        pair.stem,
        tuple(faults),
        unreadable,
        len(shapes) > 1,
        _differ_in_proportions(shapes),
        None if reference is None else (reference.shape[1], reference.shape[0]),
        {name: _format(path) for name, path in pair.files.items()},
        {name: _kind(decode_stored(pair.images[name])[0]) for name in stored},
        "" if truth is None else _mask_values(decode_stored(pair.ground_truth)[0]),
        truth is not None and not truth.any(),
        bool(both and (truth & ~labelled).any()),  # type: ignore[operator]
        tuple(path for path in pair.files.values() if _attempt(read_orientation, path, []) not in (None, 1)),
        "" if reference is None else _digest(reference),
    )


def inspect_pairs(
    pairs: Sequence[Pair], modalities: Mapping[str, ModalityConfig], processes: int, sizes: Sizes = "equal"
) -> Generator[PairFacts, None, None]:
    """Inspects pairs, in order; closed, it ends its processes.

    Args:
        pairs: The pairs.
        modalities: How the image of each modality is read.
        processes: How many processes read them; 0: one for each core this process may use, 1: this one.
        sizes: Whether their images must have one size.

    Raises:
        Failure: One of the processes was killed; the line says which pair it was at.
    """
    count = min(processes or cores(), len(pairs))
    if count <= 1:
        yield from (inspect_pair(pair, modalities, sizes) for pair in pairs)
        return
    inspection = _Inspection(pairs, modalities, count, sizes)
    try:
        with closing(inspection.read_by(count)) as read:
            for facts in read:
                yield from facts
    except RuntimeError as error:
        if killed := inspection.killed(str(error)):
            raise Failure(killed) from None
        raise


class _Inspection(Dataset[PairFacts]):
    """The facts of pairs, and which pair each process is at."""

    def __init__(
        self, pairs: Sequence[Pair], modalities: Mapping[str, ModalityConfig], processes: int, sizes: Sizes
    ) -> None:
        self.pairs, self.modalities, self.sizes = pairs, modalities, sizes
        self._at = multiprocessing.RawArray("q", 2 * processes)  # number and pair of each process

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PairFacts:
        worker = get_worker_info()
        assert worker is not None
        self._at[2 * worker.id], self._at[2 * worker.id + 1] = os.getpid(), index
        return inspect_pair(self.pairs[index], self.modalities, self.sizes)

    def read_by(self, processes: int) -> Generator[list[PairFacts], None, None]:
        """The facts, in order."""
        loader = make_loader(self, batch_size=4, num_workers=processes, collate_fn=list, worker_init_fn=_prepare)
        # Ctrl-C and SIGTERM are this process's business: held back where the others start, they stay blocked in them.
        return loaded(loader)

    def killed(self, message: str) -> str:
        """One line from what torch says of a process that was killed; nothing for any other message."""
        found = re.search(r"DataLoader worker \(pid(?:\(s\))? (\d+)", message)
        if not found:
            return ""
        at = dict(zip(self._at[::2], self._at[1::2], strict=True)).get(int(found[1]))
        where = f" while it read the pair of {shown(self.pairs[at].reference)}" if at is not None else ""
        return f"a process that checks files was killed or crashed{where}"


def _prepare(worker: int) -> None:
    make_frugal()
    # torch's own watch misses a parent that dies while this process starts.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _attempt(read: Callable[[Path], Read], path: Path, faults: list[str]) -> Read | None:
    with collected(faults):
        return read(path)
    return None


def _differ_in_proportions(shapes: Iterable[tuple[int, ...]]) -> bool:
    proportions = [width / height for height, width in shapes]
    return bool(proportions) and max(proportions) > 1.01 * min(proportions)


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
