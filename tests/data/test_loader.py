from __future__ import annotations

import itertools
import os
import pickle
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch.utils.data import DataLoader

from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.dataset import PairDataset, SampleKey
from samsod.data.loader import TrainBatches, eval_loader, train_loader
from samsod.data.sources.catalog import find_set
from samsod.utils.errors import UserError
from tests.conftest import RGBT, Children

MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
T = TypeVar("T")


@pytest.fixture
def root(tmp_path: Path, make_set: MakeSet) -> Path:
    return make_set(tmp_path / "set", "abcdefghij")


def dataset(root: Path, augment: bool = True) -> PairDataset:
    return PairDataset([find_set(DatasetConfig(root=str(root)), "", RGBT)], 8, DataConfig(), augment, 7)


def first(batches: Iterable[T], count: int) -> list[T]:
    return list(itertools.islice(batches, count))


def assert_same(ours: list[dict[str, torch.Tensor]], theirs: list[dict[str, torch.Tensor]]) -> None:
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    batches = iter(TrainBatches(samples=11, batch_size=3, rank=0, world_size=1, seed=0))
    epochs = [first(batches, 3) for _ in range(20)]
    orders = []
    for number, epoch in enumerate(epochs):
        keys = [key for batch in epoch for key in batch]
        assert [len(batch) for batch in epoch] == [3, 3, 3] and {key.epoch for key in keys} == {number}
        indices = [key.index for key in keys]
        assert len(set(indices)) == 9 and set(indices) <= set(range(11))
        orders.append(tuple(indices))
    assert len(set(orders)) == 20
    assert {index for order in orders for index in order} == set(range(11))  # the dropped rest changes


def test_order_depends_on_the_seed_alone() -> None:
    def take(seed: int) -> list[list[SampleKey]]:
        return first(TrainBatches(50, 5, 0, 1, seed), 10)

    torch.manual_seed(1)
    one = take(3)
    torch.manual_seed(2)
    assert one == take(3) != take(4)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_single_ranks_batch(world_size: int) -> None:
    alone = first(TrainBatches(21, 8, 0, 1, 0), 7)
    ranks = [first(TrainBatches(21, 8, r, world_size, 0), 7) for r in range(world_size)]
    for step, batch in enumerate(alone):
        parts = [rank[step] for rank in ranks]
        assert {len(part) for part in parts} == {8 // world_size}
        assert [key for part in parts for key in part] == batch


@pytest.mark.parametrize("start", [0, 1, 2, 3, 7, 100])
def test_resume_gives_the_same_rest(start: int) -> None:
    whole = first(TrainBatches(10, 3, 0, 1, 5), start + 8)
    rest = first(TrainBatches(10, 3, 0, 1, 5, start_step=start), 8)
    assert rest == whole[start:]


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_last_batch_can_be_kept(world_size: int) -> None:
    batches = [TrainBatches(10, 4, rank, world_size, 0, drop_last=False) for rank in range(world_size)]
    assert batches[0].steps_per_epoch == 3 and batches[0].last == 2
    steps = [[key for part in parts for key in part] for parts in zip(*(first(b, 9) for b in batches), strict=True)]
    assert [len(step) for step in steps] == [4, 4, 2] * 3
    for epoch in range(3):
        assert sorted(key.index for step in steps[3 * epoch : 3 * epoch + 3] for key in step) == list(range(10))
    kept = first(TrainBatches(10, 4, 0, 1, 0), 2)
    assert steps[:2] == kept  # the whole batches are the same
    assert first(TrainBatches(10, 4, 0, 1, 0, start_step=5, drop_last=False), 4) == steps[5:]


def test_a_last_batch_that_cannot_be_shared_is_refused(one_line: OneLine) -> None:
    message = one_line(TrainBatches, 11, 4, 0, 2, 0, drop_last=False)
    assert message == "train.drop_last=false: 2 ranks cannot share a last batch of 3"
    assert TrainBatches(12, 4, 0, 2, 0, drop_last=False).last == 4
    assert TrainBatches(3, 4, 0, 1, 0, drop_last=False).steps_per_epoch == 1


def test_impossible_batches(one_line: OneLine) -> None:
    assert one_line(TrainBatches, 100, 6, 0, 4, 0) == ("train.batch_size is 6; it must be a multiple of the 4 ranks")
    assert one_line(TrainBatches, 3, 4, 0, 1, 0) == ("train.batch_size is 4, but there are only 3 training samples")


def test_train_batches_are_tensors(root: Path) -> None:
    loader = train_loader(dataset(root), 4, 0, 1, workers=0, seed=0)
    batch = next(loader)
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "rgb": ((4, 3, 8, 8), torch.float32),
        "thermal": ((4, 3, 8, 8), torch.float32),
        "ground_truth": ((4, 1, 8, 8), torch.float32),
        "index": ((4,), torch.int64),
    }


def test_workers_and_world_size_change_nothing(root: Path) -> None:
    data = dataset(root)
    alone = first(train_loader(data, 4, 0, 1, workers=0, seed=1), 5)
    assert_same(first(train_loader(data, 4, 0, 1, workers=2, seed=1), 5), alone)
    for world_size, workers in ((2, 2), (4, 0)):
        ranks = [first(train_loader(data, 4, rank, world_size, workers, seed=1), 5) for rank in range(world_size)]
        together = [
            {key: torch.cat([part[key] for part in parts]) for key in parts[0]} for parts in zip(*ranks, strict=True)
        ]
        assert_same(together, alone)


def test_resumed_loader_goes_on(root: Path) -> None:
    whole = first(train_loader(dataset(root), 4, 0, 1, workers=0, seed=1), 6)
    assert_same(first(train_loader(dataset(root), 4, 0, 1, workers=2, seed=1, start_step=3), 3), whole[3:])


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (1, 2), (2, 0), (3, 0), (4, 2), (12, 0)])
def test_eval_shards_are_a_partition(root: Path, world_size: int, workers: int) -> None:
    data = dataset(root, augment=False)
    seen = []
    for rank in range(world_size):
        batches = [batch["index"].tolist() for batch in eval_loader(data, 2, rank, world_size, workers)]
        indices = list(itertools.chain(*batches))
        assert indices == list(range(10))[rank::world_size]
        assert len(batches) == (len(indices) + 1) // 2
        seen += indices
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize("workers", [0, 2])
def test_several_passes_are_by_the_same_processes(root: Path, children: Children, workers: int) -> None:
    with closing(eval_loader(dataset(root, augment=False), 4, 0, 1, workers, passes=3)) as loader:
        once = first(loader, 3)
        started = children()
        assert [len(batch["index"]) for batch in once] == [4, 4, 2] and len(started) == workers
        assert_same(first(loader, 3), once)
        assert children() == started
        assert_same(list(loader), once)
        assert not children()


@pytest.mark.parametrize("passes", [1, 2])
def test_processes_end_with_a_reader_that_stops_early(root: Path, children: Children, passes: int) -> None:
    data = dataset(root)
    for loader in (train_loader(data, 4, 0, 1, 2, seed=0), eval_loader(data, 4, 0, 1, 2, passes=passes)):
        next(loader)
        assert len(children()) == 2
        loader.close()
        assert not children()


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("error", [KeyError, UserError])
def test_processes_end_with_an_error_in_one_of_them(
    root: Path, children: Children, monkeypatch: pytest.MonkeyPatch, error: type[Exception], passes: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("oops")

    monkeypatch.setattr("samsod.data.pair_images.read_images", fail)
    with pytest.raises(error, match="oops") as caught:
        next(eval_loader(dataset(root), 4, 0, 1, workers=2, passes=passes))
    assert caught.value.__traceback__ and not children()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_jpeg_is_one_line_from_any_process(
    tmp_path: Path, make_set: MakeSet, damage: Callable[[Path], Path], one_line: OneLine, workers: int
) -> None:
    root = make_set(tmp_path / "large", "ab", height=64, width=64)
    path = damage(root / "RGB" / "b.jpg")
    message = one_line(first, train_loader(dataset(root), 2, 0, 1, workers, seed=0), 1)
    assert message.startswith(f"{path}: the image is damaged (Corrupt JPEG data: ")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_is_one_line_from_any_process(root: Path, one_line: OneLine, workers: int) -> None:
    path = root / "T" / "g.png"
    path.write_bytes(path.read_bytes()[:60])
    expected = f"{path}: the image is truncated: the file ends before the image does"
    assert one_line(list, eval_loader(dataset(root), 4, 0, 1, workers)) == expected
    assert one_line(first, train_loader(dataset(root), 5, 0, 1, workers, seed=0), 2) == expected


def test_each_bad_file_of_a_batch_has_its_line(root: Path) -> None:
    for stem in "bc":
        (root / "GT" / f"{stem}.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        next(iter(eval_loader(dataset(root), 4, 0, 1, workers=0)))
    assert str(caught.value).splitlines() == [f"{root / 'GT' / name}: the file is empty" for name in ("b.png", "c.png")]


def test_a_programming_error_stays_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("samsod.data.pair_images.read_images", fail)
    with pytest.raises(KeyError, match="oops"):
        list(eval_loader(dataset(root), 4, 0, 1, workers=0))


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_generator_alone(root: Path, workers: int) -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    list(eval_loader(dataset(root), 4, 0, 1, workers))
    first(train_loader(dataset(root), 4, 0, 1, workers, seed=0), 2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_more_processes_than_cores_are_no_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        list(eval_loader(dataset(root), 4, 0, 1, workers=2))
        assert not said
        DataLoader(dataset(root), num_workers=2)
        assert "suggested max number" in str(said[0].message)  # or there was nothing to leave unsaid


def test_keys_travel_between_processes() -> None:
    key = SampleKey(epoch=2, index=5)
    assert pickle.loads(pickle.dumps(key)) == key


def test_real_batches(shared_data: Path) -> None:
    pairs = find_set(DatasetConfig(root=str(shared_data / "rgbflow"), split="train"), "", RGBT)
    loader = train_loader(PairDataset([pairs], 64, DataConfig(), True, 0), 8, 0, 1, workers=2, seed=0)
    for batch in first(loader, 3):
        assert batch["rgb"].isfinite().all() and 0 < batch["ground_truth"].mean() < 1
