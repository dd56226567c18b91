from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig, ModalityConfig
from samsod.data import cache as cache_module
from samsod.data import transforms
from samsod.data.cache import SlotFile, open_cache
from samsod.data.dataset import PairDataset, SampleKey
from samsod.data.loader import train_loader
from samsod.data.sources.catalog import PairSet, find_set
from tests.conftest import RGBT
from tests.places import HANG

MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
CHANGES = AugmentConfig(flip=True, rotate=20)
SPOTS = {"rgb": ModalityConfig(over_exposure=0.5), "thermal": ModalityConfig(crossover=0.5)}
SIZE = 32
SLOT = 7 * SIZE * SIZE + 24
MARK = 8
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def root(tmp_path: Path, make_set: MakeSet) -> Path:
    return make_set(tmp_path / "set", "abcdef", height=40, width=56)


@pytest.fixture(autouse=True)
def nothing_left_in_memory() -> Iterator[None]:
    before = set(SHARED_MEMORY.iterdir())
    yield
    assert {path for path in SHARED_MEMORY.iterdir() if "samsod" in path.name} <= before


def dataset(root: Path, cache: str, folder: Path, gib: float = 1, **data: object) -> PairDataset:
    settings = {"cache": cache, "cache_dir": str(folder), "cache_gib": gib, "augment": CHANGES, "modalities": SPOTS}
    config = DataConfig(**{**settings, **data})  # type: ignore[arg-type]
    pairs = PairDataset([find_set(DatasetConfig(root=str(root)), "", RGBT)], SIZE, config, True, 0)
    if cache != "none":
        pairs.use_cache()
    return pairs


def assert_same(one: PairDataset, two: PairDataset) -> None:
    for epoch in range(3):
        for index in range(len(one)):
            first, second = one[SampleKey(epoch, index)], two[SampleKey(epoch, index)]
            assert first.keys() == second.keys()
            assert all(torch.equal(torch.as_tensor(first[key]), torch.as_tensor(second[key])) for key in first)


def forget_files(pairs: PairDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on samples come from the cache or not at all."""

    def fail(*_: object) -> None:
        raise AssertionError("read a file")

    monkeypatch.setattr("samsod.data.pair_images.read_images", fail)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_cached_samples_are_the_same(root: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, cached = dataset(root, "none", tmp_path), dataset(root, where, tmp_path / "cache")
    assert_same(plain, cached)
    expected = [plain[SampleKey(9, index)]["rgb"] for index in range(6)]
    forget_files(cached, monkeypatch)
    for index in range(6):
        assert torch.equal(cached[SampleKey(9, index)]["rgb"], expected[index])


@pytest.mark.parametrize("names", [("rgb",), ("rgb", "thermal"), ("thermal", "depth", "rgb")])
def test_grey_and_colour_of_any_modalities_come_back(
    tmp_path: Path, make_set: MakeSet, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_set(tmp_path / "set", "abcdef", height=40, width=56)
    make_set(root, "abcdef", folders=("RGB", "D", "GT"), height=40, width=56)
    for stem, one, other in (("a", "RGB", "T"), ("b", "T", "RGB"), ("c", "RGB", "D")):  # colour among grey, and grey
        (path,) = (root / other).glob(f"{stem}.*")
        path.unlink()
        (source,) = (root / one).glob(f"{stem}.*")
        shutil.copy(source, root / other / source.name)
    settings = {name: ModalityConfig(over_exposure=0.5, crossover=0.5) for name in names}
    plain, cached = (
        PairDataset(
            [find_set(DatasetConfig(root=str(root)), "", names)],
            SIZE,
            DataConfig(cache=where, cache_dir=str(tmp_path), augment=CHANGES, modalities=settings),
            True,
            0,
        )
        for where in ("none", "disk")
    )
    cached.use_cache()
    assert_same(plain, cached)
    expected = [plain[SampleKey(9, index)] for index in range(6)]
    forget_files(cached, monkeypatch)
    assert all(torch.equal(cached[SampleKey(9, i)][name], expected[i][name]) for i in range(6) for name in names)


def test_labelled_regions_are_cached_too(root: Path, tmp_path: Path) -> None:
    pairs = find_set(DatasetConfig(root=str(root)), "", RGBT).pairs
    scribbles = PairSet("scribbles", tuple(replace(pair, labelled=pair.ground_truth) for pair in pairs))
    plain, cached = (
        PairDataset([scribbles], SIZE, DataConfig(cache="memory", augment=CHANGES), True, 0) for _ in range(2)
    )
    cached.use_cache()
    assert "labelled" in plain[0]
    assert_same(plain, cached)


def test_workers_share_what_they_read(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = dataset(root, "memory", tmp_path)
    expected = train_loader(dataset(root, "none", tmp_path), 3, 0, 1, workers=0, seed=0)
    loader = train_loader(cached, 3, 0, 1, workers=2, seed=0)
    for _ in range(8):
        first, second = next(loader), next(expected)
        assert all(torch.equal(first[key], second[key]) for key in first)
    del loader
    forget_files(cached, monkeypatch)
    for index in range(6):
        cached[index]  # this process has read none of them


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_data_set_sent_to_another_process_has_the_same_cache(
    root: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = dataset(root, where, tmp_path / "cache")
    sent = pickle.loads(pickle.dumps(cached))
    expected = [sent[SampleKey(1, index)]["thermal"] for index in range(6)]
    forget_files(cached, monkeypatch)
    assert all(torch.equal(cached[SampleKey(1, index)]["thermal"], expected[index]) for index in range(6))


def test_memory_has_no_name_and_disk_has_one(root: Path, tmp_path: Path) -> None:
    in_memory = dataset(root, "memory", tmp_path / "cache")
    assert not list(SHARED_MEMORY.glob("*samsod*")) and not (tmp_path / "cache").exists()
    on_disk = dataset(root, "disk", tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name.startswith("samsod-") and path.suffix == ".cache" and in_memory[0].keys() == on_disk[0].keys()


def test_the_next_run_reads_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataset(root, "disk", tmp_path / "cache")
    expected = [first[index]["rgb"] for index in range(6)]
    second = dataset(root, "disk", tmp_path / "cache", modalities={**SPOTS, "thermal": ModalityConfig(normalize=True)})
    forget_files(second, monkeypatch)
    assert all(torch.equal(second[index]["rgb"], expected[index]) for index in range(6))


def test_what_changes_the_samples_makes_another_cache(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    keep = [
        dataset(root, "disk", folder),
        dataset(root, "disk", folder, modalities={"thermal": ModalityConfig(invert=True)}),
    ]
    assert len(list(folder.iterdir())) == 2
    assert not torch.equal(keep[0][0]["thermal"], keep[1][0]["thermal"])
    path = root / "T" / "a.png"
    path.write_bytes((root / "T" / "b.png").read_bytes())
    os.utime(path, ns=(1, 1))
    keep.append(dataset(root, "disk", folder))
    assert len(list(folder.iterdir())) == 3
    assert_same(keep[-1], dataset(root, "none", folder))


def test_the_first_samples_that_fit_are_kept(root: Path, tmp_path: Path, one_line: OneLine) -> None:
    gib = 2.5 * (SLOT + MARK) / 2**30
    cached = dataset(root, "memory", tmp_path, gib)
    assert cached._cache is not None and cached._cache.slots == 2
    assert_same(dataset(root, "none", tmp_path), cached)
    assert [cached._cache.get(index) is not None for index in range(6)] == [True, True, *[False] * 4]
    message = one_line(dataset, root, "memory", tmp_path, 1e-6)
    assert message == "data.cache_gib: 1e-06 GiB hold no sample of 0.0 MiB"


def test_too_little_room_is_one_line(
    root: Path, tmp_path: Path, one_line: OneLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage)
    message = one_line(dataset, root, "disk", tmp_path / "cache")
    assert message.startswith(f"{tmp_path / 'cache'}: 0.00 GiB are free, and the cache may take 0.00: ")
    (tmp_path / "file").write_text("x")
    assert "cannot be made" in one_line(dataset, root, "disk", tmp_path / "file" / "cache")


def test_a_full_disk_stops_the_filling_and_says_so_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cached, plain = dataset(root, "disk", tmp_path / "cache"), dataset(root, "none", tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert_same(plain, cached)
    error = capfd.readouterr().err
    assert error.count("No space left on device: nothing more is cached") == error.count("\n") == 1


def slots(path: Path, count: int = 4, length: int = 5000) -> SlotFile:
    return SlotFile(path, count, length)


def content(slot: int, length: int = 5000) -> np.ndarray:
    return np.random.default_rng(slot).integers(0, 256, length, np.uint8)


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(data)


@pytest.mark.parametrize("offset", [0, 2500, 4999])
def test_a_damaged_slot_is_not_trusted(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "samsod-a.cache"
    file = slots(path)
    for slot in range(4):
        assert file.get(slot) is None
        file.put(slot, content(slot))
        assert np.array_equal(file.get(slot), content(slot))  # type: ignore[arg-type]
    _overwrite(path, 4 * MARK + 2 * 5000 + offset, bytes([content(2)[offset] ^ 1]))
    again = slots(path)
    assert [again.get(slot) is not None for slot in range(4)] == [True, True, False, True]
    again.put(2, content(2))
    assert np.array_equal(again.get(2), content(2))  # type: ignore[arg-type]


def test_data_without_its_mark_is_not_there(tmp_path: Path) -> None:
    """What a process leaves that dies between the two writes, and one that loses its data but not its mark."""
    path = tmp_path / "samsod-a.cache"
    file = slots(path)
    _overwrite(path, 4 * MARK + 5000, content(1).tobytes())
    assert file.get(1) is None
    file.put(1, content(1))
    _overwrite(path, 4 * MARK + 5000, bytes(5000))
    assert slots(path).get(1) is None


@pytest.mark.parametrize("damage", ["cut", "mark", "empty", "longer"])
def test_a_foreign_or_cut_file_is_replaced(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "samsod-a.cache"
    slots(path).put(0, content(0))
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-1], "mark": bytes([whole[0] ^ 1]) + whole[1:], "empty": b"", "longer": whole + b"x"}[damage]
    )
    file = slots(path)
    assert file.get(0) is None and path.stat().st_size == 4 * (MARK + 5000)
    file.put(3, content(3))
    assert slots(path).get(3) is not None
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def _fill(path: str, start: multiprocessing.synchronize.Event, order: list[int], failed: multiprocessing.Queue) -> None:
    start.wait()
    file = SlotFile(path, 40, 5000)
    for slot in order * 3:
        found = file.get(slot)
        if found is None:
            file.put(slot, content(slot))
        elif not np.array_equal(found, content(slot)):
            failed.put(slot)
    failed.put(None)


def test_two_processes_writing_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    start, failed, path = fork.Event(), fork.Queue(), tmp_path / "samsod-a.cache"
    orders = [list(range(40)), list(range(40)), list(reversed(range(40)))]
    processes = [fork.Process(target=_fill, args=(str(path), start, order, failed)) for order in orders]
    for process in processes:
        process.start()
    start.set()
    assert [failed.get(timeout=HANG) for _ in processes] == [None, None, None]
    for process in processes:
        process.join()
    file = slots(path, 40)
    assert all(np.array_equal(file.get(slot), content(slot)) for slot in range(40))  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_old_caches_make_room_and_open_ones_stay(tmp_path: Path) -> None:
    for age, name in ((100, "open"), (50, "old"), (10, "new")):
        path = tmp_path / f"samsod-{name}.cache"
        path.write_bytes(bytes(3 * 2**20))
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    (tmp_path / "other.txt").write_text("not ours")
    data = DataConfig(cache="disk", cache_dir=str(tmp_path), cache_gib=9.5 / 1024)
    with (tmp_path / "samsod-open.cache").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        mine = open_cache(data, "content", 3, 2**20)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {Path(mine.path).name, "samsod-open.cache", "samsod-new.cache", "other.txt"}


def test_other_users_caches_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samsod-theirs.cache").write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    open_cache(DataConfig(cache="disk", cache_dir=str(tmp_path), cache_gib=2 / 1024), "content", 1, 2**20)
    assert (tmp_path / "samsod-theirs.cache").exists()


def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes calls in this process look like those of ranks, one after the other."""
    offers: list[object] = []

    def gather(mine: object) -> list[object]:
        offers.append(mine)
        return offers

    monkeypatch.setattr("samsod.utils.distributed.world_size", lambda: 2)
    monkeypatch.setattr("samsod.utils.distributed.gather_objects", gather)


def test_ranks_of_a_machine_share_one_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    two_ranks(monkeypatch)
    files = []
    for rank in "01":
        monkeypatch.setenv("LOCAL_RANK", rank)
        files.append(open_cache(DataConfig(cache="memory", cache_gib=0.1), "ranks", 4, 5000))
    files[0].put(2, content(2))
    assert np.array_equal(files[1].get(2), content(2))  # type: ignore[arg-type]


def test_too_little_memory_is_one_line_on_every_rank(monkeypatch: pytest.MonkeyPatch, one_line: OneLine) -> None:
    two_ranks(monkeypatch)
    wanted = DataConfig(cache="memory", cache_gib=2**30)
    for rank in "01":
        monkeypatch.setenv("LOCAL_RANK", rank)
        message = one_line(open_cache, wanted, "ranks", 2**30, 2**30)
        assert message.startswith("data.cache=memory: ") and message.endswith("free some, or lower data.cache_gib")


def test_other_code_makes_another_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dataset(root, "none", tmp_path)._content()
    changed = tmp_path / "transforms.py"
    changed.write_bytes(Path(str(transforms.__file__)).read_bytes() + b"\n# changed\n")
    monkeypatch.setattr(transforms, "__file__", str(changed))
    assert dataset(root, "none", tmp_path)._content() != before
