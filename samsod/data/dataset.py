"""Samples: from a triplet of paths to tensors of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from samsod.data import transforms
from samsod.data.catalog import PairSet, Triplet
from samsod.data.images import Bytes, Mask, read_rgb, read_thermal, read_truth
from samsod.data_config import AugmentConfig, DataConfig
from samsod.errors import UserError

Sample = dict[str, Any]


@dataclass(frozen=True)
class SampleKey:
    """Which sample, and in which epoch: together with the run's seed they decide how it is augmented."""

    epoch: int
    index: int


class Images(NamedTuple):
    """A triplet, read: RGB and thermal image uint8 H×W×3, truth uint8 H×W with 0 and 255.

    With scribbles the truth holds the foreground strokes, and `labelled`, of the same kind, all strokes; else it is
    None.
    """

    rgb: Bytes
    thermal: Bytes
    ground_truth: Bytes
    labelled: Bytes | None = None


class PairDataset(Dataset[Sample]):
    """The pairs of one or more sets, as tensors of image_size × image_size.

    Args:
        pair_sets: The sets; their pairs are numbered through in this order.
        image_size: Side of the square in pixels.
        data: How thermal images are scaled, and the augmentation.
        augment: Whether to augment, if `data.augment` does not rule it out.
        seed: The run's seed.

    Attributes:
        triplets: The files of every sample.
        partial_labels: Whether any of the sets has scribbles; then every sample says which pixels are labelled.
    """

    def __init__(
        self, pair_sets: Sequence[PairSet], image_size: int, data: DataConfig, augment: bool, seed: int
    ) -> None:
        self.triplets = tuple(triplet for pairs in pair_sets for triplet in pairs.triplets)
        self.partial_labels = any(pairs.partial_labels for pairs in pair_sets)
        self.image_size = image_size
        self.data = data
        self.augment = augment and data.augment.enabled
        self.seed = seed

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Reads, resizes and augments one sample; a plain number means epoch 0.

        Returns:
            `rgb` and `thermal` float32 3×S×S, `ground_truth` float32 1×S×S in 0-1 (between them where pixels were
            averaged), `index` int; if any set has scribbles also `labelled` float32 1×S×S, 1 where the truth is known.

        Raises:
            UserError: A file cannot be used, or the three differ in size; one line.
        """
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        images = read_images(self.triplets[index], self.data.thermal.scale)
        images = _resized(images, self.image_size)
        if self.augment:
            # Nothing else may enter: the sample must not depend on the worker or the rank that loads it.
            images = _augment(images, self.data.augment, np.random.default_rng([self.seed, epoch, index]))
        sample = {
            "rgb": transforms.to_tensor(images.rgb, normalize=True),
            "thermal": transforms.to_tensor(images.thermal, normalize=self.data.thermal.normalize),
            "ground_truth": _map_tensor(images.ground_truth),
            "index": index,
        }
        if self.partial_labels:
            known = images.labelled if images.labelled is not None else np.full_like(images.ground_truth, 255)
            sample["labelled"] = _map_tensor(known)
        return sample


def read_images(triplet: Triplet, thermal_scale: Literal["image", "fixed"]) -> Images:
    """Reads a triplet at the size it is stored in.

    Raises:
        UserError: A file cannot be used, or one has another size than the RGB image; or most of the foreground strokes
            lie where nothing is labelled.
    """
    rgb = read_rgb(triplet.rgb)
    thermal = read_thermal(triplet.thermal, thermal_scale)
    truth = read_truth(triplet.ground_truth)
    known = read_truth(triplet.labelled) if triplet.labelled else None
    for path, image in ((triplet.thermal, thermal), (triplet.ground_truth, truth), (triplet.labelled, known)):
        if image is not None and image.shape[:2] != rgb.shape[:2]:
            raise UserError(
                f"{path} has {image.shape[1]}x{image.shape[0]} pixels, "
                f"but {triplet.rgb} has {rgb.shape[1]}x{rgb.shape[0]}"
            )
    if known is not None and 2 * (truth & known).sum() < truth.sum():
        raise UserError(
            f"{triplet.ground_truth}: most of its foreground lies outside the labelled region of {triplet.labelled}; "
            "are the two folders swapped?"
        )
    return Images(rgb, thermal, _as_bytes(truth), None if known is None else _as_bytes(known))


def _as_bytes(mask: Mask) -> Bytes:
    return mask.astype(np.uint8) * np.uint8(255)


def _map_tensor(image: Bytes) -> torch.Tensor:
    return torch.from_numpy(image).to(torch.float32).div_(255).unsqueeze_(0)


def _resized(images: Images, size: int) -> Images:
    rgb, thermal = transforms.resize(images.rgb, size), transforms.resize(images.thermal, size)
    if images.labelled is None:
        return Images(rgb, thermal, transforms.resize(images.ground_truth, size))
    return Images(rgb, thermal, *transforms.resize_scribbles(images.ground_truth, images.labelled, size))


def _augment(images: Images, config: AugmentConfig, rng: np.random.Generator) -> Images:
    rgb = transforms.photometric(images.rgb, transforms.draw_factors(config, rng))
    thermal = transforms.photometric(images.thermal, transforms.draw_factors(config, rng))
    images = images._replace(rgb=rgb, thermal=thermal)
    if config.flip and rng.random() < 0.5:
        images = Images(*(transforms.flip(image) for image in images if image is not None))
    return images
