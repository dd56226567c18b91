"""Augmentation of a sample: what is drawn for it, and what that does to its images.

Everything is drawn before anything is read, from one generator and in a fixed order, so that switching one kind on
leaves what the others draw as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samsod.config.data_schema import AugmentConfig, ModalityConfig
from samsod.data.decoding.images import Bytes, as_bytes, cv2
from samsod.data.transforms import Factors

SIZE_STEP = 32  # the network takes multiples of it
LEAST_SIZE = 64


class Part(NamedTuple):
    """A rectangle, in shares of the image's height and width."""

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns it covers; at least one of each."""
        return _share(self.top, self.height, height), _share(self.left, self.width, width)


WHOLE = Part()


class Spot(NamedTuple):
    """A soft ellipse: its centre and its radii (standard deviations), in shares of the image's sides."""

    row: float
    column: float
    tall: float
    wide: float

    def weights(self, size: int) -> npt.NDArray[np.float32]:
        """A Gaussian bump of height 1, size×size."""
        places = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        rows = np.exp(-0.5 * ((places - np.float32(self.row)) / np.float32(self.tall)) ** 2)
        columns = np.exp(-0.5 * ((places - np.float32(self.column)) / np.float32(self.wide)) ** 2)
        bump: npt.NDArray[np.float32] = np.outer(rows, columns)
        return bump


@dataclass(frozen=True)
class Augmentation:
    """What is done to one sample, in the order of the fields but for the part, which is cut out before resizing.

    Factors and spots go by modality; without one its image is left alone.
    """

    factors: Mapping[str, Factors] = field(default_factory=dict)
    flip: bool = False
    part: Part = WHOLE
    degrees: float = 0.0
    over_exposure: Mapping[str, Spot] = field(default_factory=dict)
    crossover: Mapping[str, Spot] = field(default_factory=dict)
    dropped: str = ""


def draw(config: AugmentConfig, modalities: Mapping[str, ModalityConfig], rng: np.random.Generator) -> Augmentation:
    """Draws a sample's augmentation; everything with the probability and from the range that the settings give.

    Args:
        config: What all modalities have in common.
        modalities: The settings of each, in the model's order.
        rng: Of this sample alone.
    """
    factors = {name: draw_factors(config, rng) for name in modalities}
    flip = bool(config.flip and rng.random() < 0.5)
    shares: Iterator[float] = iter(rng.random, None)
    part = _part(config.crop, shares)
    degrees = config.rotate * (2 * next(shares) - 1)
    over_exposure = _spots({name: item.over_exposure for name, item in modalities.items()}, 0.06, 0.2, shares)
    crossover = _spots({name: item.crossover for name, item in modalities.items()}, 0.1, 0.3, shares)
    dropped = list(modalities)[int(next(shares) * len(modalities))]
    is_dropped = next(shares) < config.modality_dropout and len(modalities) > 1
    return Augmentation(factors, flip, part, degrees, over_exposure, crossover, dropped if is_dropped else "")


def draw_factors(config: AugmentConfig, rng: np.random.Generator) -> Factors:
    """Draws each factor uniformly from its range, or from its steps; always four draws, whatever the ranges."""
    ranges = (config.brightness, config.contrast, config.color, config.sharpness)
    return Factors(
        *(_factor(low, high, config.steps, share) for (low, high), share in zip(ranges, rng.random(4), strict=True))
    )


def _factor(low: float, high: float, step: float, share: float) -> float:
    if not step:
        return float(low + (high - low) * share)
    count = math.floor((high - low) / step + 1e-6) + 1  # both ends count
    return round(low + step * int(share * count), 9)


def draw_size(sizes: tuple[int, ...], words: list[int]) -> int:
    """One of the sizes, each as likely; the words are the seed."""
    return int(np.random.default_rng(words).choice(sizes))


def batch_sizes(image_size: int, factors: list[float]) -> tuple[int, ...]:
    """The sides a batch may have: each factor's share of `image_size`, rounded to a multiple of 32, at least 64."""
    sides = (SIZE_STEP * math.floor(image_size * factor / SIZE_STEP + 0.5) for factor in factors)
    return tuple(max(side, LEAST_SIZE) for side in sides)


def over_expose(image: Bytes, spot: Spot) -> Bytes:
    """Adds light, as from a lamp or the sun: the spot's core burns out to white, its halo fades.

    The image, uint8 S×S or S×S×3, stays as it is.
    """
    light = np.rint(spot.weights(len(image)) * 510).astype(np.uint16)
    channels = light if image.ndim == 2 else cv2.cvtColor(light, cv2.COLOR_GRAY2RGB)
    return as_bytes(cv2.add(image, channels, dtype=cv2.CV_8U))


def cross_over(image: Bytes, spot: Spot) -> Bytes:
    """Takes the contrast from a region, as where object and surroundings are equally warm: all becomes its mean.

    The image, uint8 S×S or S×S×3, stays as it is; the region is flat inside, soft at the rim.
    """
    weights = np.minimum(2 * spot.weights(len(image)), 1)
    weights = weights if image.ndim == 2 else weights[..., None]
    mean = (image * weights).sum((0, 1)) / weights.sum()
    return as_bytes(np.rint(image + weights * (mean - image)))


def _part(least: float, shares: Iterator[float]) -> Part:
    height, width = (least + (1 - least) * next(shares) for _ in range(2))
    return Part((1 - height) * next(shares), (1 - width) * next(shares), height, width)


def _spots(probabilities: Mapping[str, float], least: float, most: float, shares: Iterator[float]) -> dict[str, Spot]:
    """A spot for each modality that one is drawn for; as many draws, whatever the probabilities."""
    drawn = {name: (next(shares), _spot(least, most, shares)) for name in probabilities}
    return {name: spot for name, (share, spot) in drawn.items() if share < probabilities[name]}


def _spot(least: float, most: float, shares: Iterator[float]) -> Spot:
    row, column = next(shares), next(shares)
    return Spot(row, column, *(least + (most - least) * next(shares) for _ in range(2)))


def _share(start: float, length: float, pixels: int) -> slice:
    first = min(int(start * pixels), pixels - 1)
    return slice(first, min(first + max(round(length * pixels), 1), pixels))
