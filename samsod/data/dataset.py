"""Samples: from a triplet of paths to tensors of one size."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from os import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from samsod.config.data_schema import DataConfig, ThermalConfig
from samsod.data import decoding, transforms
from samsod.data.augment import WHOLE, Augmentation, Part, batch_sizes, cross_over, draw, over_expose
from samsod.data.decoding.images import Bytes, cv2, read_rgb_reduced, read_truth, shrink
from samsod.data.decoding.modality import read_thermal
from samsod.data.sources.catalog import PairSet, Triplet
from samsod.utils.errors import UserError
from samsod.utils.files import code_digest

if TYPE_CHECKING:
    from samsod.data.cache import SlotFile

Sample = dict[str, Any]


@dataclass(frozen=True)
class SampleKey:
    """Which sample, and in which epoch: together with the run's seed they decide how it is augmented.

    `size` is the side its batch is given, 0 for the data set's own.
    """

    epoch: int
    index: int
    size: int = 0


@dataclass(frozen=True)
class Images:
    """A triplet, read.

    Attributes:
        rgb: uint8, H×W×3.
        thermal: uint8, H×W×3, or H×W for three equal channels.
        maps: What is said about the pixels, by name: uint8, H×W, 0 to 255. `ground_truth`; and with scribbles, where
            that holds the strokes on the foreground, `labelled`, all strokes.
        aspect: Width by height of the scene, whatever it was resized to.
    """

    rgb: Bytes
    thermal: Bytes
    maps: dict[str, Bytes]
    aspect: float

    def all(self) -> list[Bytes]:
        """Both images and every map."""
        return [self.rgb, self.thermal, *self.maps.values()]

    def with_all(self, images: Sequence[Bytes]) -> Images:
        """Others in their place, in the order of `all`."""
        rgb, thermal, *maps = images
        return replace(self, rgb=rgb, thermal=thermal, maps=dict(zip(self.maps, maps, strict=True)))

    def each(self, operation: Callable[[Bytes], Bytes]) -> Images:
        """Does the same to both images and every map."""
        return self.with_all([operation(image) for image in self.all()])


class PairDataset(Dataset[Sample]):
    """The pairs of one or more sets, as square tensors.

    Args:
        pair_sets: The sets; their pairs are numbered through in this order.
        image_size: Side of the square in pixels.
        data: How thermal images are read, and the augmentation.
        augment: Whether to augment, if `data.augment` does not rule it out.
        seed: The run's seed.

    Attributes:
        triplets: The files of every sample.
        maps: Names of what every sample says about its pixels: `ground_truth`, and if any set has scribbles `labelled`.
        sizes: Sides that batches may be given in turn (`data.augment.multiscale`); empty: all have image_size.
    """

    def __init__(
        self, pair_sets: Sequence[PairSet], image_size: int, data: DataConfig, augment: bool, seed: int
    ) -> None:
        self.triplets = tuple(triplet for pairs in pair_sets for triplet in pairs.triplets)
        scribbles = any(pairs.partial_labels for pairs in pair_sets)
        self.maps = ("ground_truth", "labelled") if scribbles else ("ground_truth",)
        self.image_size = image_size
        self.data = data
        self.augment = augment and data.augment.enabled
        self.sizes = batch_sizes(image_size, data.augment.multiscale) if self.augment else ()
        self.seed = seed
        self._cache: SlotFile | None = None

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Reads, resizes and augments one sample; a plain number means epoch 0 and the data set's own size.

        Returns:
            `rgb` and `thermal` float32 3×S×S, `ground_truth` float32 1×S×S in 0-1 (between them where pixels were
            averaged), `index` int; if any set has scribbles also `labelled` float32 1×S×S, 1 where the truth is known.

        Raises:
            UserError: A file cannot be used, or the three differ in size; one line.
        """
        key = key if isinstance(key, SampleKey) else SampleKey(0, key)
        size = key.size or self.image_size
        if self.augment:
            # Nothing else may enter: the sample must not depend on the worker or the rank that loads it.
            drawn = draw(self.data.augment, np.random.default_rng([self.seed, key.epoch, key.index]))
            images = augmented(self._resized(key.index, size, drawn.part), drawn)
        else:
            images = self._resized(key.index, size, WHOLE)
        return {
            "rgb": transforms.to_tensor(images.rgb, normalize=True),
            "thermal": transforms.to_tensor(images.thermal, normalize=self.data.thermal.normalize),
            **{name: transforms.map_to_tensor(image) for name, image in images.maps.items()},
            "index": key.index,
        }

    def use_cache(self) -> str:
        """Keeps samples as `data.cache` says, from now on; before the loaders are made.

        Returns:
            A line on what is kept, and where.

        Raises:
            UserError: There is no room for the cache, or its file cannot be made.
        """
        from samsod.data.cache import open_cache  # for POSIX systems only, unlike the rest

        length = slot_length(self.image_size, len(self.maps))
        cache = self._cache = open_cache(self.data, self._content(), len(self), length)
        gib = cache.slots * length / 2**30
        place = cache.path if self.data.cache == "disk" else "memory"
        return f"cache: {cache.slots} of {len(self)} samples, at most {gib:.2f} GiB, in {place}"

    def _content(self) -> str:
        """Everything a sample depends on before it is augmented: settings, code that may change it, and files."""
        thermal = {name: value for name, value in asdict(self.data.thermal).items() if name != "normalize"}
        paths = (path for triplet in self.triplets for path in vars(triplet).values() if isinstance(path, Path))
        code = code_digest(decoding, transforms, sys.modules[__name__]), cv2.__version__, torch.__version__
        files = [(str(path.absolute()), *_stamp(path)) for path in paths]
        return json.dumps([self.image_size, self.maps, thermal, *code, files])

    def _resized(self, index: int, size: int, part: Part) -> Images:
        cache = self._cache if size == self.image_size and part == WHOLE else None
        if cache is not None and (slot := cache.get(index)) is not None:
            return from_slot(slot, size, self.maps)
        least = math.ceil(size / min(part.height, part.width))
        images = resized(cut_out(read_images(self.triplets[index], self.data.thermal, least), part), size)
        if "labelled" in self.maps:
            everywhere = np.full((size, size), 255, np.uint8)
            images = replace(images, maps={**images.maps, "labelled": images.maps.get("labelled", everywhere)})
        if cache is not None:
            cache.put(index, to_slot(images))
        return images


def read_images(triplet: Triplet, thermal: ThermalConfig, least: int = 0) -> Images:
    """Reads a triplet.

    Args:
        triplet: The files.
        thermal: How the thermal image is read.
        least: The sides may be halved, up to three times, while they keep so many pixels; 0: the stored size. Those of
            strokes are not: halved pixels are too coarse to say where one lies.

    Raises:
        UserError: A file cannot be used, or one has another size than the RGB image; or most of the foreground strokes
            lie where nothing is labelled.
    """
    rgb, reduce = read_rgb_reduced(triplet.rgb, 0 if triplet.labelled else least)
    second = read_thermal(triplet.thermal, thermal, reduce)
    masks = {"ground_truth": triplet.ground_truth}
    if triplet.labelled:
        masks["labelled"] = triplet.labelled
    maps = {name: shrink(read_truth(path).view(np.uint8) * np.uint8(255), reduce) for name, path in masks.items()}
    images = Images(rgb, second, maps, rgb.shape[1] / rgb.shape[0])
    for path, image in zip((triplet.rgb, triplet.thermal, *masks.values()), images.all(), strict=True):
        if image.shape[:2] != rgb.shape[:2]:
            if reduce > 1:
                return read_images(triplet, thermal)  # says it with the sizes as they are stored
            raise UserError(
                f"{path} has {image.shape[1]}x{image.shape[0]} pixels, "
                f"but {triplet.rgb} has {rgb.shape[1]}x{rgb.shape[0]}"
            )
    if triplet.labelled and 2 * np.minimum(*maps.values()).sum() < maps["ground_truth"].sum():
        raise UserError(
            f"{triplet.ground_truth}: most of its foreground lies outside the labelled region of {triplet.labelled}; "
            "are the two folders swapped?"
        )
    return images


def cut_out(images: Images, part: Part) -> Images:
    """The same part of both images and every map."""
    rows, columns = part.slices(*images.rgb.shape[:2])
    cut = images.each(lambda image: image[rows, columns])
    return replace(cut, aspect=cut.rgb.shape[1] / cut.rgb.shape[0])


def resized(images: Images, size: int) -> Images:
    """Both images and every map as squares."""
    if "labelled" in images.maps:
        strokes = transforms.resize_scribbles(images.maps["ground_truth"], images.maps["labelled"], size)
        result = images.with_all([*transforms.resize([images.rgb, images.thermal], size), *strokes])
    else:
        result = images.with_all(transforms.resize(images.all(), size))
    return replace(result, thermal=transforms.single_channel(result.thermal))


def augmented(images: Images, drawn: Augmentation) -> Images:
    """Does to square images what was drawn for them, but for the part."""
    rgb = transforms.photometric(images.rgb, drawn.rgb)
    thermal = transforms.photometric(images.thermal, drawn.thermal)
    images = replace(images, rgb=rgb, thermal=thermal)
    if drawn.flip:
        images = images.each(transforms.flip)
    if drawn.degrees:
        images = turned(images, drawn.degrees)
    if drawn.over_exposure:
        images = replace(images, rgb=over_expose(images.rgb, drawn.over_exposure))
    if drawn.thermal_crossover:
        images = replace(images, thermal=cross_over(images.thermal, drawn.thermal_crossover))
    # As if the file were black, so that a modality missing at test time can be given as black images.
    if drawn.dropped == "rgb":
        images = replace(images, rgb=np.zeros_like(images.rgb))
    if drawn.dropped == "thermal":
        images = replace(images, thermal=np.zeros_like(images.thermal))
    return images


def turned(images: Images, degrees: float) -> Images:
    """Both images and every map turned; strokes are not blended with what is not labelled."""
    blend = "labelled" not in images.maps
    both = [transforms.turn(image, degrees, images.aspect) for image in (images.rgb, images.thermal)]
    maps = [transforms.turn(image, degrees, images.aspect, blend) for image in images.maps.values()]
    return images.with_all([*both, *maps])


def slot_length(size: int, maps: int) -> int:
    """Bytes of a cached sample: 3 + 3 planes, one for each map, aspect and channels of the thermal image."""
    return (6 + maps) * size**2 + 16


def to_slot(images: Images) -> Bytes:
    """Square images as they are cached; see `slot_length`."""
    rest = np.zeros(0 if images.thermal.ndim == 3 else 2 * images.thermal.size, np.uint8)
    numbers = np.array([images.aspect, images.thermal.ndim]).view(np.uint8)
    return np.concatenate([numbers, *(image.ravel() for image in images.all()), rest])


def from_slot(slot: Bytes, size: int, maps: Sequence[str]) -> Images:
    """The images that `to_slot` was given, read-only."""
    aspect, dimensions = slot[:16].view(np.float64)
    shapes = [(size, size, 3), (size, size, 3)[: int(dimensions)], *[(size, size)] * len(maps)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    rgb, thermal, *rest = (part.reshape(shape) for part, shape in zip(np.split(slot[16:], ends), shapes, strict=False))
    return Images(rgb, thermal, dict(zip(maps, rest, strict=True)), float(aspect))


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file's last change; what reads it will say when it is not there."""
    try:
        found = stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
