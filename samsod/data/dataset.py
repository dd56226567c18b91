"""Samples: from the files of a pair to tensors of one size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from samsod.config.data_schema import DataConfig
from samsod.data import decoding, pair_images, resizing, transforms
from samsod.data.augment import WHOLE, Part, batch_sizes, draw
from samsod.data.decoding.images import cv2
from samsod.data.pair_images import Images
from samsod.data.sources.catalog import PairSet
from samsod.data.sources.modalities import settings_of
from samsod.data.transforms import Factors
from samsod.utils.files import code_digest

if TYPE_CHECKING:
    from samsod.data.cache import SlotFile

Sample = dict[str, Any]
UNCHANGED: Mapping[str, Factors] = {}


@dataclass(frozen=True)
class SampleKey:
    """Which sample, and in which epoch: together with the run's seed they decide how it is augmented.

    `size` is the side its batch is given, 0 for the data set's own.
    """

    epoch: int
    index: int
    size: int = 0


class PairDataset(Dataset[Sample]):
    """The pairs of one or more sets, as square tensors.

    Args:
        pair_sets: The sets; their pairs are numbered through in this order.
        image_size: Side of the square in pixels.
        data: How the modalities are read, and the augmentation.
        augment: Whether to augment, if `data.augment` does not rule it out.
        seed: The run's seed.
        guide: Give the reference's image in plain colours too, for losses that ask for it.

    Attributes:
        pairs: The files of every sample.
        modalities: What every sample has an image of, the reference first, and how it is read and augmented.
        maps: Names of what every sample says about its pixels: `ground_truth`, and if any set has scribbles `labelled`.
        sizes: Sides that batches may be given in turn (`data.augment.multiscale`); empty: all have image_size.
    """

    def __init__(
        self,
        pair_sets: Sequence[PairSet],
        image_size: int,
        data: DataConfig,
        augment: bool,
        seed: int,
        guide: bool = False,
    ) -> None:
        self.pairs = tuple(pair for found in pair_sets for pair in found.pairs)
        names = list(self.pairs[0].images) if self.pairs else []
        assert all(list(pair.images) == names for pair in self.pairs)
        self.modalities = {name: settings_of(name, data) for name in names}
        scribbles = any(found.partial_labels for found in pair_sets)
        self.maps = ("ground_truth", "labelled") if scribbles else ("ground_truth",)
        self.image_size = image_size
        self.data = data
        self.augment = augment and data.augment.enabled
        self.sizes = batch_sizes(image_size, data.augment.multiscale) if self.augment else ()
        self.seed = seed
        self.guide = guide
        self._cache: SlotFile | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Reads, resizes and augments one sample; a plain number means epoch 0 and the data set's own size.

        Returns:
            By modality its image, float32 3×S×S; `ground_truth` float32 1×S×S in 0-1 (between them where pixels were
            averaged), `index` int; if any set has scribbles also `labelled` float32 1×S×S, 1 where the truth is known;
            with `guide` also `guide` float32 3×S×S, the reference's image in 0-1.

        Raises:
            UserError: A file cannot be used, or they differ in size and may not; one line.
        """
        key = key if isinstance(key, SampleKey) else SampleKey(0, key)
        size = key.size or self.image_size
        if self.augment:
            # Nothing else may enter: the sample must not depend on the worker or the rank that loads it.
            rng = np.random.default_rng([self.seed, key.epoch, key.index])
            drawn = draw(self.data.augment, self.modalities, rng)
            early = drawn.factors if self.data.augment.photometric == "full_size" else {}
            later = replace(drawn, factors={}) if early else drawn
            images = pair_images.augmented(self._resized(key.index, size, drawn.part, early), later)
        else:
            images = self._resized(key.index, size, WHOLE)
        return {
            **pair_images.tensors(images, self.modalities),
            **{name: transforms.map_to_tensor(image) for name, image in images.maps.items()},
            **({"guide": transforms.to_tensor(images.reference, normalize=False)} if self.guide else {}),
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

        length = pair_images.slot_length(self.image_size, len(self.modalities), len(self.maps))
        cache = self._cache = open_cache(self.data, self._content(), len(self), length)
        gib = cache.slots * length / 2**30
        place = cache.path if self.data.cache == "disk" else "memory"
        return f"cache: {cache.slots} of {len(self)} samples, at most {gib:.2f} GiB, in {place}"

    def _content(self) -> str:
        """Everything a sample depends on before it is augmented: settings, code that may change it, and files."""
        # Not how they are augmented and standardised, which is done to what is cached.
        read = {
            name: asdict(replace(settings, normalize=None, over_exposure=0.0, crossover=0.0))
            for name, settings in self.modalities.items()
        }
        paths = (path for pair in self.pairs for path in pair.files.values())
        code = code_digest(decoding, pair_images, resizing, transforms), cv2.__version__, torch.__version__
        files = [(str(path.absolute()), *_stamp(path)) for path in paths]
        return json.dumps([self.image_size, self.data.sizes, self.maps, read, *code, files])

    def _resized(self, index: int, size: int, part: Part, early: Mapping[str, Factors] = UNCHANGED) -> Images:
        """The images of a pair, changed by the factors `early` at full size, cut out and resized."""
        cache = self._cache if size == self.image_size and part == WHOLE else None
        if cache is not None and (slot := cache.get(index)) is not None:
            return pair_images.from_slot(slot, size, list(self.modalities), self.maps)
        least = 0 if early else math.ceil(size / min(part.height, part.width))
        read = pair_images.read_images(self.pairs[index], self.modalities, least, self.data.sizes)
        images = pair_images.resized(pair_images.cut_out(pair_images.recoloured(read, early), part), size)
        if "labelled" in self.maps:
            everywhere = np.full((size, size), 255, np.uint8)
            images = replace(images, maps={**images.maps, "labelled": images.maps.get("labelled", everywhere)})
        if cache is not None:
            cache.put(index, pair_images.to_slot(images))
        return images


class SceneDataset(Dataset[Sample]):
    """The images of a set's pairs as square tensors, prepared as `PairDataset` does; their masks are not opened.

    Args:
        pair_set: The set.
        image_size: Side of the square in pixels.
        data: How the modalities are read.
        shift: How the images but the reference's are moved, see `test.shift`.
    """

    def __init__(self, pair_set: PairSet, image_size: int, data: DataConfig, shift: Sequence[int] = ()) -> None:
        self.pairs = pair_set.pairs
        self.image_size, self.data, self.shift = image_size, data, shift
        self.modalities = {name: settings_of(name, data) for pair in self.pairs[:1] for name in pair.images}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Reads and resizes the images of one pair.

        Returns:
            By modality its image, float32 3×S×S; `shape`, height and width of the reference as it is stored, int64
            `[2]`; `index` int.

        Raises:
            UserError: A file cannot be used, or they differ in size and may not; one line.
        """
        settings = self.modalities, self.image_size, self.data.sizes, "data.sizes=any", self.shift
        planes, shape = pair_images.read_scene(self.pairs[index].images, *settings)
        images = {name: torch.from_numpy(image) for name, image in planes.items()}
        return {**images, "shape": torch.tensor(shape), "index": index}


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file's last change; what reads it will say when it is not there."""
    try:
        found = stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
