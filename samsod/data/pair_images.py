"""The images of a pair: read, cut out, made square, augmented, and packed for the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from samsod.config.data_schema import DataConfig, ModalityConfig, Sizes
from samsod.data import transforms
from samsod.data.augment import Augmentation, Part, cross_over, over_expose
from samsod.data.decoding.images import Bytes, read_truth, reduction, shrink
from samsod.data.decoding.modality import read_modality, read_reduced, to_8_bits
from samsod.data.sources.catalog import Pair
from samsod.data.sources.modalities import settings_of
from samsod.utils.errors import UserError

if TYPE_CHECKING:
    import torch

Source = Path | npt.NDArray[Any]
"""Where an image comes from: a file, or its values, [H,W] or [H,W,3] with red first."""

MAPS = ("ground_truth", "labelled")
"""What is said about pixels, which always has the reference's size."""


@dataclass(frozen=True)
class Images:
    """A pair, read.

    Attributes:
        images: By modality, the reference first: uint8, H×W×3, or H×W for three equal channels.
        maps: What is said about the pixels, by name: uint8, H×W, 0 to 255. `ground_truth`; and with scribbles, where
            that holds the strokes on the foreground, `labelled`, all strokes.
        aspect: Width by height of the scene, whatever it was resized to.
    """

    images: Mapping[str, Bytes]
    maps: Mapping[str, Bytes]
    aspect: float

    @property
    def reference(self) -> Bytes:
        """The image whose size and proportions count for all."""
        return next(iter(self.images.values()))

    def all(self) -> list[Bytes]:
        """All images and every map."""
        return [*self.images.values(), *self.maps.values()]

    def with_all(self, images: Sequence[Bytes]) -> Images:
        """Others in their place, in the order of `all`."""
        names, count = (*self.images, *self.maps), len(self.images)
        pairs = list(zip(names, images, strict=True))
        return Images(dict(pairs[:count]), dict(pairs[count:]), self.aspect)

    def each(self, operation: Callable[[Bytes], Bytes]) -> Images:
        """Does the same to all images and every map."""
        return self.with_all([operation(image) for image in self.all()])

    def changed(self, names: Iterable[str], operation: Callable[[str, Bytes], Bytes]) -> Images:
        """Does something to the images of some modalities, which it is told the name of."""
        return replace(self, images={**self.images, **{name: operation(name, self.images[name]) for name in names}})


def read_images(pair: Pair, modalities: Mapping[str, ModalityConfig], least: int = 0, sizes: Sizes = "equal") -> Images:
    """Reads a pair.

    Args:
        pair: The files.
        modalities: How the image of each modality is read.
        least: The sides may be halved, up to three times, while they keep so many pixels; 0: the stored size. Those of
            strokes are not: halved pixels are too coarse to say where one lies.
        sizes: With `any` only maps must have the reference's size, and they the size of each other where the reference
            is not the image they were made for.

    Raises:
        UserError: A file cannot be used, or one has another size than the reference; or most of the foreground strokes
            lie where nothing is labelled.
    """
    images, stored = read_modalities(pair.images, modalities, 0 if pair.labelled else least, sizes)
    maps = {name: read_truth(path).view(np.uint8) * np.uint8(255) for name, path in pair.maps.items()}
    first, reference = next(iter(images.items()))
    alike = images if sizes == "equal" else [first] if pair.has_own_mask else []
    shapes = {name: stored[name] for name in alike} | {name: image.shape for name, image in maps.items()}
    check_sizes(pair.files, shapes, "data.sizes=any")
    height, width = reference.shape[:2]
    maps = {name: shrink(image, stored[first][0] // height)[0] for name, image in maps.items()}
    if pair.labelled and 2 * np.minimum(*maps.values()).sum() < maps["ground_truth"].sum():
        raise UserError(
            f"{pair.ground_truth}: most of its foreground lies outside the labelled region of {pair.labelled}; "
            "are the two folders swapped?"
        )
    return Images(images, maps, width / height)


def read_modalities(
    sources: Mapping[str, Source], modalities: Mapping[str, ModalityConfig], least: int = 0, sizes: Sizes = "equal"
) -> tuple[dict[str, Bytes], dict[str, tuple[int, int]]]:
    """Reads the images of a scene, whatever their sizes.

    Args:
        sources: By modality a file, or the values that one would hold, red first.
        modalities: How the image of each modality is read.
        least: As in `read_images`.
        sizes: With `any` the sides of an image of another size than the first's are divided by a number of its own.

    Returns:
        By modality uint8, H×W×3, or H×W of values of one channel; and the height and width that are stored of each.

    Raises:
        UserError: A file or its values cannot be used.
    """
    images: dict[str, Bytes] = {}
    stored: dict[str, tuple[int, int]] = {}

    def read(name: str, reduce: int) -> None:
        source = sources[name]
        if isinstance(source, Path):
            images[name], factor = read_reduced(source, modalities[name], reduce)
        else:
            images[name], factor = shrink(to_8_bits(source, modalities[name], f"the {name} image"), reduce)
        height, width = images[name].shape[:2]
        stored[name] = height * factor, width * factor

    reference = next(iter(sources))
    reduce = _reduction(sources[reference], least)
    for name, source in sources.items():
        read(name, reduce)
        if sizes == "any" and reduce > 1 and stored[name] != stored[reference]:
            read(name, _reduction(source, least))
    return images, stored


def _reduction(source: Source, least: int) -> int:
    return reduction(source, least) if isinstance(source, Path) else 1


def read_scene(
    sources: Mapping[str, Source],
    modalities: Mapping[str, ModalityConfig],
    size: int,
    sizes: Sizes,
    setting: str,
    shift: Sequence[int] = (),
) -> tuple[dict[str, npt.NDArray[np.float32]], tuple[int, int]]:
    """Images without a truth as the network gets them, prepared as those of a `PairDataset` are, without PyTorch.

    Args:
        sources: As of `read_modalities`, the reference first.
        modalities: How the image of each modality is read.
        size: Side of the network's input.
        sizes: Whether the images must have one size.
        setting: What would let them differ, for the message.
        shift: How the images but the reference's are moved, see `test.shift`; they are then read at full size.

    Returns:
        By modality float32 3×S×S; and height and width of the reference.

    Raises:
        UserError: An image cannot be used, or has another size than the reference.
    """
    images, stored = read_modalities(sources, modalities, 0 if shift else size, sizes)
    if sizes == "equal":
        called = {name: item if isinstance(item, Path) else f"the {name} image" for name, item in sources.items()}
        check_sizes(called, stored, setting)
    height, width = next(iter(stored.values()))
    squares = resized(Images(shifted(images, shift), {}, width / height), size).images
    planes = {name: transforms.to_planes(image, bool(modalities[name].normalize)) for name, image in squares.items()}
    return planes, (height, width)


def check_sizes(called: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], setting: str) -> None:
    """Raises UserError when an image has another size than the first, by what each is called.

    Args:
        called: What messages call them, and whatever else.
        shapes: Height and width of the images, and of maps; what follows these does not matter.
        setting: What would let images differ, for the message.
    """
    first, height, width = next((called[name], *shape[:2]) for name, shape in shapes.items())
    for name, shape in shapes.items():
        if tuple(shape[:2]) != (height, width):
            size = f"{shape[1]}x{shape[0]}"
            hint = "" if name in MAPS else f" ({setting} resizes each on its own)"
            raise UserError(f"{called[name]} has {size} pixels, but {first} has {width}x{height}{hint}")


def tensors(images: Images, modalities: Mapping[str, ModalityConfig]) -> dict[str, torch.Tensor]:
    """Square images as the network gets them: by modality float32 3×S×S."""
    return {
        name: transforms.to_tensor(image, bool(modalities[name].normalize)) for name, image in images.images.items()
    }


def read_pictures(images: Mapping[str, Path], data: DataConfig, shift: Sequence[int] = ()) -> dict[str, Bytes]:
    """Images by modality as the network sees them before they are resized, uint8 H×W×3; to be looked at.

    Raises:
        UserError: A file cannot be used.
    """
    return shifted({name: read_modality(path, settings_of(name, data)) for name, path in images.items()}, shift)


def shifted(images: Mapping[str, Bytes], shift: Sequence[int]) -> dict[str, Bytes]:
    """The images with all but the first moved by `[right, down]` pixels of their own; empty: not moved."""
    reference = next(iter(images))
    return {
        name: transforms.move(image, *shift) if shift and name != reference else image for name, image in images.items()
    }


def cut_out(images: Images, part: Part) -> Images:
    """The same part of all images and every map, whatever their sizes."""
    cut = images.each(lambda image: image[part.slices(*image.shape[:2])])
    return replace(cut, aspect=cut.reference.shape[1] / cut.reference.shape[0])


def resized(images: Images, size: int) -> Images:
    """All images and every map as squares."""
    if "labelled" in images.maps:
        strokes = transforms.resize_scribbles(images.maps["ground_truth"], images.maps["labelled"], size)
        result = images.with_all([*transforms.resize(list(images.images.values()), size), *strokes])
    else:
        result = images.with_all(transforms.resize(images.all(), size))
    return result.changed(result.images, lambda _, image: transforms.single_channel(image))


def recoloured(images: Images, factors: Mapping[str, transforms.Factors]) -> Images:
    """The photometric changes of some modalities, on images of any size."""
    return images.changed(factors, lambda name, image: transforms.photometric(image, factors[name]))


def augmented(images: Images, drawn: Augmentation) -> Images:
    """Does to square images what was drawn for them, but for the part."""
    images = recoloured(images, drawn.factors)
    if drawn.flip:
        images = images.each(transforms.flip)
    if drawn.degrees:
        images = turned(images, drawn.degrees)
    images = images.changed(drawn.over_exposure, lambda name, image: over_expose(image, drawn.over_exposure[name]))
    images = images.changed(drawn.crossover, lambda name, image: cross_over(image, drawn.crossover[name]))
    # As if the file were black, so that a modality missing at test time can be given as black images.
    return images.changed(filter(None, [drawn.dropped]), lambda _, image: np.zeros_like(image))


def turned(images: Images, degrees: float) -> Images:
    """All images and every map turned; strokes are not blended with what is not labelled."""
    blend = "labelled" not in images.maps
    pictures = [transforms.turn(image, degrees, images.aspect) for image in images.images.values()]
    maps = [transforms.turn(image, degrees, images.aspect, blend) for image in images.maps.values()]
    return images.with_all([*pictures, *maps])


def slot_length(size: int, modalities: int, maps: int) -> int:
    """Bytes of a cached sample: aspect, and channels of each image; 3 planes for each image, and one for each map."""
    return 8 * (1 + modalities) + (3 * modalities + maps) * size**2


def to_slot(images: Images) -> Bytes:
    """Square images as they are cached; see `slot_length`."""
    numbers = np.array([images.aspect, *(image.ndim for image in images.images.values())]).view(np.uint8)
    content = np.concatenate([numbers, *(image.ravel() for image in images.all())])
    length = slot_length(len(images.reference), len(images.images), len(images.maps))
    return np.pad(content, (0, length - len(content)))


def from_slot(slot: Bytes, size: int, modalities: Sequence[str], maps: Sequence[str]) -> Images:
    """The images that `to_slot` was given, read-only."""
    start = 8 * (1 + len(modalities))
    aspect, *dimensions = slot[:start].view(np.float64).tolist()
    shapes = [(size, size, 3)[: int(count)] for count in dimensions] + [(size, size)] * len(maps)
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = [part.reshape(shape) for part, shape in zip(np.split(slot[start:], ends), shapes, strict=False)]
    count = len(modalities)
    return Images(
        dict(zip(modalities, parts[:count], strict=True)), dict(zip(maps, parts[count:], strict=True)), aspect
    )
