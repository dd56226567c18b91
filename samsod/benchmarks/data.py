"""The speed of samples and loader beside the straightforward pipeline in Pillow, in one run.

The straightforward one does what reads most naturally: it decodes, augments at the stored size with `ImageEnhance`,
resizes, scales and standardises. Both get the same files and the same factors, and take turns, so that whatever else
the machine does slows both down. Torchvision would do the same things to the same images, but is not imported here.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from samsod.config import ModelConfig
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data import imagenet
from samsod.data.augment import draw
from samsod.data.dataset import PairDataset, Sample, SampleKey
from samsod.data.decoding.images import Bytes, as_bytes, cv2
from samsod.data.loader import Batch, eval_loader, make_frugal
from samsod.data.pair_images import read_images
from samsod.data.sources.catalog import Pair, PairSet, find_set
from samsod.data.sources.modalities import settings_of
from samsod.data.synthetic.demo_set import encoded, write_scene
from samsod.data.synthetic.scenes import make_scene
from samsod.data.transforms import Factors
from samsod.utils.errors import UserError
from samsod.utils.files import write_bytes
from samsod.utils.progress import progress
from samsod.utils.threads import Stages

LARGE = (1280, 960)  # width and height
_OPERATIONS = ("Brightness", "Contrast", "Color", "Sharpness")


class Speed(NamedTuple):
    """Seconds a sample takes."""

    cpu: float
    wall: float


Difference = dict[str, float]
"""By modality, the mean absolute difference of its images between two pipelines, in units of 0 to 1."""


class PillowDataset(Dataset[Sample]):
    """What `PairDataset` gives, by the straightforward pipeline.

    Args:
        ours: Whose files, settings and draws it takes.
        is_resized_first: Resize before augmenting, which is our order.

    Raises:
        UserError: Pillow is not installed.
    """

    def __init__(self, ours: PairDataset, is_resized_first: bool = False) -> None:
        import_pillow()
        self.ours = ours
        self.is_resized_first = is_resized_first

    def __len__(self) -> int:
        return len(self.ours)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """The sample; see `PairDataset`."""
        key = key if isinstance(key, SampleKey) else SampleKey(0, key)
        rng = np.random.default_rng([self.ours.seed, key.epoch, key.index])
        factors = draw(self.ours.data.augment, self.ours.modalities, rng).factors
        pair = self.ours.pairs[key.index]
        truth = import_pillow().open(pair.ground_truth).convert("L")
        return {
            **{
                name: self._image(path, factors[name], bool(self.ours.modalities[name].normalize))
                for name, path in pair.images.items()
            },
            "ground_truth": _scaled(np.asarray(self._resize(truth))[..., None]),
            "index": key.index,
        }

    def _image(self, path: Path, factors: Factors, normalize: bool) -> torch.Tensor:
        from PIL import ImageEnhance

        image = import_pillow().open(path).convert("RGB")
        image = self._resize(image) if self.is_resized_first else image
        for name, factor in zip(_OPERATIONS, factors, strict=True):
            image = getattr(ImageEnhance, name)(image).enhance(factor)
        image = image if self.is_resized_first else self._resize(image)
        tensor = _scaled(np.asarray(image))
        if normalize:
            tensor = (tensor - _channels(imagenet.MEAN)) / _channels(imagenet.STD)
        return tensor

    def _resize(self, image: Any) -> Any:
        size = self.ours.image_size
        return image.resize((size, size), import_pillow().Resampling.BILINEAR)


def import_pillow() -> ModuleType:
    """`PIL.Image`.

    Raises:
        UserError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise UserError("the comparison needs Pillow: pip install pillow") from None
    return Image


def make_scenes(folder: Path, count: int) -> list[Pair]:
    """Generated pairs of 640×640 pixels, written below `folder`."""
    for index in range(count):
        write_scene(folder, f"{index:03d}", make_scene(0, 0, index, 640))
    return list(find_set(DatasetConfig(root=str(folder)), "", ModelConfig().modalities).pairs)


def enlarge(pairs: Sequence[Pair], folder: Path) -> list[Pair]:
    """The same pairs at 1280×960 pixels, JPEG staying JPEG, written below `folder`."""
    folder.mkdir(parents=True)
    return [_enlarged(pair, folder) for pair in pairs]


@contextmanager
def processes() -> Iterator[tuple[Executor, Executor]]:
    """A process for us, set up as a loader process is, and one for Pillow; both have one thread.

    Both start from nothing: forked, they would inherit how this process's memory is laid out.
    """
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(1, spawn, make_frugal) as ours,
        ProcessPoolExecutor(1, spawn, torch.set_num_threads, (1,)) as theirs,
    ):
        yield ours, theirs


def compare(dataset: PairDataset, rounds: int, ours: Executor, theirs: Executor) -> tuple[Speed, Speed]:
    """Takes every sample `rounds` times from us and from Pillow in turns, each in its own of `processes`.

    Returns:
        Our speed and Pillow's, each in its fastest round, which other programs disturbed least.
    """
    times: tuple[list[Speed], list[Speed]] = ([], [])
    for epoch in progress(range(rounds + 1), rounds + 1, f"{dataset.image_size} px"):
        times[0].append(ours.submit(_round, dataset, epoch).result())
        times[1].append(theirs.submit(_round, PillowDataset(dataset), epoch).result())
    # The first round reads the files and fills the caches.
    our_speed, their_speed = (Speed(*np.min(each[1:], axis=0).tolist()) for each in times)
    return our_speed, their_speed


def _round(dataset: Any, epoch: int) -> Speed:
    cpu, wall = time.process_time(), time.perf_counter()
    for index in range(len(dataset)):
        dataset[SampleKey(epoch, index)]
    return Speed((time.process_time() - cpu) / len(dataset), (time.perf_counter() - wall) / len(dataset))


def differences(dataset: PairDataset) -> tuple[Difference, Difference]:
    """How far our samples are from Pillow's, and how far from Pillow's when it resizes first as we do.

    What the second leaves of the first is the order's doing.
    """
    straight, resized_first = PillowDataset(dataset), PillowDataset(dataset, is_resized_first=True)
    sums = np.zeros((2, len(dataset.modalities)))
    for index in range(len(dataset)):
        ours = dataset[index]
        for row, theirs in enumerate((straight[index], resized_first[index])):
            sums[row] += [
                _difference(ours, theirs, name, bool(each.normalize)) for name, each in dataset.modalities.items()
            ]
    first, second = (dict(zip(dataset.modalities, row, strict=True)) for row in (sums / len(dataset)).tolist())
    return first, second


def loader_speeds(datasets: Sequence[Any], workers: int, samples: int) -> list[float]:
    """Samples a second (wall clock) of each data set through the loader, in batches of 4, taking turns.

    Each has its loader processes started, and its files read once, before the clock starts; `samples` is how many
    are timed, at least one pass.
    """
    passes, batches = max(1, samples // len(datasets[0])), math.ceil(len(datasets[0]) / 4)
    seconds = np.zeros(len(datasets))
    with Stages() as stages:
        loaders = [stages.add(eval_loader(dataset, 4, 0, 1, workers, passes=1 + passes)) for dataset in datasets]
        for number in range(1 + passes):
            for which, loader in enumerate(loaders):
                started = time.perf_counter()
                _take(loader, batches)
                seconds[which] += (time.perf_counter() - started) * (number > 0)
    return [passes * len(datasets[0]) / each for each in seconds.tolist()]


def run(sets: Mapping[str, Sequence[Pair]], sizes: Sequence[int], rounds: int, workers: Sequence[int]) -> str:
    """Measures all and returns the report: Markdown tables.

    Args:
        sets: Pairs by name.
        sizes: Target sizes in pixels.
        rounds: How often every pair is taken.
        workers: Numbers of loader processes to measure with; 0 loads in this one.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    alone = _table(
        *("pairs", "size", "ours/CPU s", "Pillow/CPU s", "ratio", "ours/s", "Pillow/s"),
        *(f"{name} difference" for name in next(iter(sets.values()))[0].images),
    )
    loaded = _table("pairs", "size", "workers", "ours/s", "Pillow/s", "ratio", "cached/s")
    with processes() as (ours, theirs):
        for (name, pairs), size in itertools.product(sets.items(), sizes):
            dataset = PairDataset([PairSet(name, tuple(pairs))], size, DataConfig(), augment=True, seed=0)
            speeds = compare(dataset, rounds, ours, theirs)
            alone.append(f"| {name} | {size} | {_speeds(*speeds)} | {_differences(*differences(dataset))} |")
            for count in workers:
                loaded.append(f"| {name} | {size} | {count} | {_loader_row(dataset, count, rounds)} |")
    return "\n".join(
        [
            "One process each, in turns: decode, augment, resize, normalise; samples per CPU second and per second.",
            "Differences: mean absolute ones of the outputs, in units of 0 to 1; in brackets when Pillow resizes first",
            "too, which leaves those of decoding and rounding: the rest is the order's doing.",
            *alone,
            "",
            "Through the loader, in batches of 4, by wall clock; cached: data.cache=memory, once filled.",
            *loaded,
        ]
    )


def _speeds(ours: Speed, theirs: Speed) -> str:
    cpu = f"{1 / ours.cpu:.0f} | {1 / theirs.cpu:.0f} | {theirs.cpu / ours.cpu:.2f}"
    return f"{cpu} | {1 / ours.wall:.0f} | {1 / theirs.wall:.0f}"


def _differences(whole: Difference, ordered: Difference) -> str:
    return " | ".join(f"{value:.4f} ({ordered[name]:.4f})" for name, value in whole.items())


def _loader_row(dataset: PairDataset, workers: int, rounds: int) -> str:
    cached = copy.copy(dataset)
    cached.data = DataConfig(cache="memory")
    cached.use_cache()
    ours, theirs, again = loader_speeds((dataset, PillowDataset(dataset), cached), workers, rounds * len(dataset))
    return f"{ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} | {again:.0f}"


def _table(*columns: str) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]


def _take(loader: Iterator[Batch], batches: int) -> None:
    for _ in itertools.islice(loader, batches):
        pass


def _difference(ours: Sample, theirs: Sample, name: str, normalized: bool) -> float:
    difference = (ours[name] - theirs[name]).abs()
    return float((difference * _channels(imagenet.STD) if normalized else difference).mean())


def _enlarged(pair: Pair, folder: Path) -> Pair:
    read = read_images(pair, {name: settings_of(name, DataConfig()) for name in pair.images})
    called = folder / pair.stem.replace("/", "_")  # of videos, some have frames of one name
    images = {
        name: _write_large(image[..., ::-1], pair.images[name], called, name) for name, image in read.images.items()
    }
    maps = {name: _write_large(image, pair.maps[name], called, name) for name, image in read.maps.items()}
    return Pair(pair.stem, images, maps["ground_truth"], maps.get("labelled"))


def _write_large(image: Bytes, source: Path, called: Path, name: str) -> Path:
    path = called.with_name(f"{called.name}_{name}{source.suffix.lower()}")
    method = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_CUBIC
    enlarged = cv2.resize(np.ascontiguousarray(image), LARGE, interpolation=method)
    write_bytes(path, encoded(path.suffix, as_bytes(enlarged)))
    return path


def _scaled(image: Bytes) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy()).to(torch.float32).div(255)


def _channels(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values)[:, None, None]
