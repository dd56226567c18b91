"""Batches: which rank gets which samples, and loader processes whose errors stay one line."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from samsod.data.augment import draw_size
from samsod.data.dataset import PairDataset, Sample, SampleKey, SceneDataset
from samsod.data.decoding.images import cv2
from samsod.utils.errors import UserError

Batch = dict[str, torch.Tensor]
Samples = PairDataset | SceneDataset
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class BadSample:
    """What a loader process sends in place of a sample: torch would turn an exception into its traceback's text."""

    message: str


class TrainBatches(Sampler[list[SampleKey]]):
    """The samples of this rank's part of every batch, epoch after epoch without end.

    All ranks draw one permutation per epoch from (seed, epoch). It is cut into batches of `batch_size`, what is left
    over is dropped or makes a smaller batch, and each rank takes a contiguous part of each batch. So the batches depend
    on neither the number of ranks nor that of loader processes. Of several sizes each batch is given one, drawn from
    (seed, epoch, step).

    Args:
        samples: How many samples there are.
        batch_size: Samples of a batch, over all ranks together.
        rank: This rank.
        world_size: How many ranks there are.
        seed: The run's seed.
        start_step: How many batches to leave out, when a run is resumed.
        sizes: Sides the samples may have; empty: the data set's own.
        drop_last: Drop what is left over of an epoch.

    Attributes:
        last: Samples of an epoch's last batch, over all ranks together.

    Raises:
        UserError: The ranks cannot share the batch evenly, nor the last one, or there are fewer samples than one batch
            takes.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        rank: int,
        world_size: int,
        seed: int,
        start_step: int = 0,
        sizes: tuple[int, ...] = (),
        drop_last: bool = True,
    ) -> None:
        assert 0 <= rank < world_size
        if batch_size % world_size:
            raise UserError(f"train.batch_size is {batch_size}; it must be a multiple of the {world_size} ranks")
        if samples < batch_size and (drop_last or not samples):
            raise UserError(f"train.batch_size is {batch_size}, but there are only {samples} training samples")
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.start_step = start_step
        self.sizes = sizes
        rest = 0 if drop_last else samples % batch_size
        self.steps_per_epoch = samples // batch_size + bool(rest)
        self.last = rest or batch_size
        if self.last % world_size:
            raise UserError(f"train.drop_last=false: {world_size} ranks cannot share a last batch of {self.last}")
        self._rank, self._world_size = rank, world_size

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, first = divmod(self.start_step, self.steps_per_epoch)
        while True:
            order = self._order(epoch)
            for step in range(first, self.steps_per_epoch):
                batch = order[step * self.batch_size : (step + 1) * self.batch_size]
                size = self._size(epoch, step)
                share = len(batch) // self._world_size
                mine = batch[self._rank * share : (self._rank + 1) * share]
                yield [SampleKey(epoch, index, size) for index in mine]
            epoch, first = epoch + 1, 0

    def _order(self, epoch: int) -> list[int]:
        # The third word keeps this apart from every sample's augmentation, which has its index there.
        rng = np.random.default_rng([self.seed, epoch, self.samples])
        order: list[int] = rng.permutation(self.samples).tolist()
        return order

    def _size(self, epoch: int, step: int) -> int:
        # Four words, the last one not 0: apart from every draw that has three.
        return draw_size(self.sizes, [self.seed, epoch, step, self.samples]) if self.sizes else 0


def train_loader(
    dataset: PairDataset,
    batch_size: int,
    rank: int,
    world_size: int,
    workers: int,
    seed: int,
    start_step: int = 0,
    pin_memory: bool = False,
    drop_last: bool = True,
) -> Generator[Batch, None, None]:
    """Batches to train on, from `start_step` on; see `TrainBatches` for the arguments and errors.

    Returns:
        Batches without end, to be closed: what `PairDataset` gives, each stacked to B = batch_size / world_size; fewer
        in an epoch's last batch if what is left over is kept. It raises UserError for a batch with samples that cannot
        be used, one line for each.
    """
    batches = TrainBatches(len(dataset), batch_size, rank, world_size, seed, start_step, dataset.sizes, drop_last)
    return _checked(loaded(make_loader(_Guarded(dataset), batch_sampler=batches, **_settings(workers, pin_memory))))


def eval_loader(
    dataset: Samples,
    batch_size: int,
    rank: int,
    world_size: int,
    workers: int,
    pin_memory: bool = False,
    passes: int = 1,
) -> Generator[Batch, None, None]:
    """Batches to evaluate on: every sample once over all ranks, nothing padded; rank r gets r, r + world_size, ...

    Args:
        dataset: The samples.
        batch_size: Samples of a batch, of this rank alone; the last one may hold fewer.
        rank: This rank; it gets no batch when there are not enough samples.
        world_size: How many ranks there are.
        workers: Loader processes; 0 loads in this one.
        pin_memory: Put the batches where a GPU copies them from fastest.
        passes: How often they are gone through, by the same processes; none loads for a pass before it begins.

    Returns:
        The batches, to be closed. It raises UserError for a batch with samples that cannot be used, one line for each.
    """
    mine, settings = range(len(dataset))[rank::world_size], _settings(workers, pin_memory)
    kept = passes > 1 and workers > 0
    loader = make_loader(_Guarded(dataset), batch_size=batch_size, sampler=mine, persistent_workers=kept, **settings)
    return _checked(loaded(loader, passes))


def make_loader(dataset: Dataset[Any], **settings: Any) -> DataLoader[Any]:
    """PyTorch's loader of these settings, with a generator of its own.

    It would draw its processes' seeds from the global one, and so change the run's other draws.
    """
    with _unadvised():
        return DataLoader(dataset, generator=torch.Generator(), **settings)


def loaded(loader: DataLoader[Any], passes: int = 1) -> Generator[Any, None, None]:
    """What the loader gives, in so many passes. Its processes end when this does: read to the end, failed or closed.

    PyTorch ends them when the last reference to its iterator goes. The garbage collector takes their queues before, so
    that none hears of its end, and each is waited for in vain. So no error may keep the iterator here; and whoever
    reads must close this, as an error keeps the frames that it went through, and all that they hold.
    """
    batches: Iterator[Any] = iter(())
    try:
        for _ in range(passes):
            with signals_held(), _unadvised():
                batches = iter(loader)
            yield from batches
    except BaseException as error:
        if loader.num_workers:
            clear_frames(error.__traceback__)
        raise
    finally:
        del loader, batches


class _Guarded(Dataset[Sample | BadSample]):
    def __init__(self, dataset: Samples) -> None:
        self.dataset: Any = dataset  # which keys it takes is the sampler's business

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey | int) -> Sample | BadSample:
        try:
            return self.dataset[key]
        except UserError as error:
            return BadSample(str(error))


def _collate(samples: list[Sample | BadSample]) -> Batch | BadSample:
    bad = [sample.message for sample in samples if isinstance(sample, BadSample)]
    if bad:
        return BadSample("\n".join(bad))
    batch: Batch = default_collate(samples)
    return batch


def _checked(batches: Generator[Batch | BadSample, None, None]) -> Generator[Batch, None, None]:
    with closing(batches):
        for batch in batches:
            if isinstance(batch, BadSample):
                raise UserError(*batch.message.splitlines())
            yield batch


def _settings(workers: int, pin_memory: bool) -> dict[str, Any]:
    return {
        "num_workers": workers,
        "worker_init_fn": _init_worker,
        "collate_fn": _collate,
        "pin_memory": pin_memory,
    }


@contextmanager
def _unadvised() -> Iterator[None]:
    """Without what PyTorch says of more processes than cores, when it is given their number and when it starts them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")
        yield


@contextmanager
def signals_held() -> Iterator[None]:
    """Lets requests to stop wait while loader processes are started: one that does not ignore them yet would die.

    And an interrupt among them would leave those behind that are there.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _init_worker(worker: int) -> None:
    for number in STOP_SIGNALS:  # sent to the whole process group, while the training process still needs its batches
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    make_frugal()


@atexit.register
def _end_workers() -> None:
    """Ends loader processes that an error left behind: at exit Python would ask them by SIGTERM, and wait."""
    left = [child for child in multiprocessing.active_children() if child.daemon]
    if left:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler would call their end an error
    for child in left:
        child.kill()


def make_frugal() -> None:
    """Makes this process spend as little CPU time on a sample as it can."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # glibc hands freed memory back to the system above a threshold that follows the largest block freed so far. At
    # 512 pixels fetching it again, page by page, takes a quarter of the time of a sample.
    np.empty(2**25 - 2**16, np.uint8)
