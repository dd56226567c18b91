"""What every predictor does, whatever runs its network: reads images, makes batches, and makes maps of logits.

Nothing here needs PyTorch.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from samsod.config import Config
from samsod.config.data_schema import Sizes
from samsod.data.pair_images import Source, read_scene
from samsod.data.pictures import Floats, to_saliency
from samsod.data.sources.modalities import settings_of
from samsod.prediction.result import SaliencyResult
from samsod.utils.errors import UserError, nearest
from samsod.utils.maps import FINAL, Maps, check_finite

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """The images of one scene, ready for the network.

    Attributes:
        images: By given modality, in the model's order, float32 `[3,S,S]`.
        shape: Height and width of the reference.
    """

    images: Mapping[str, Floats]
    shape: tuple[int, int]


class ScenePredictor(ABC):
    """Predicts saliency maps; safe to use from several threads at once, and nothing is kept between calls.

    Args:
        config: The config the model was trained with: how images are read, and how maps are made.
        modalities: What images it takes, the reference first.
        allow_missing: Whether images of some modalities may be missing: each stream decodes on its own (Eq. 6).

    Attributes:
        modalities: What images it takes: the first that is given sets the map's size.
        batch_size: How many images of a list go through the network together.
        if_missing: What is said to do about a missing image.
    """

    if_missing = "with allow_missing it does with some of them"

    def __init__(self, config: Config, modalities: Sequence[str], allow_missing: bool) -> None:
        self.config = config
        self.modalities = tuple(modalities)
        self.allow_missing = allow_missing
        self.batch_size = config.test.batch_size
        self._settings = {name: settings_of(name, config.data) for name in self.modalities}

    @abstractmethod
    def infer(self, scenes: Sequence[Scene], streams: bool = False) -> list[Maps]:
        """Runs the network on scenes of the same modalities together.

        Returns:
            Of each scene the logits by map name, `final` and with `streams` every stream's, float32 `[S,S]`.
        """

    def predict(self, /, **images: Any) -> Any:
        """Predicts one scene, or a list of them.

        Args:
            images: By modality an image: a path, or an array H×W or H×W×3 (red first) of 8 or 16 bits or floating
                point, with the values its file would hold; a photograph may be floating point in 0-1. Or a list of
                these for each modality, of any sizes. With `allow_missing` some may be None or left out.

        Returns:
            A `SaliencyResult`, or a list of them for lists.

        Raises:
            UserError: An image cannot be used, is missing, or has another size than its reference and may not.
            Failure: A prediction is not finite.
        """
        given = {name: images[name] for name in self._known(images) if images.get(name) is not None}
        lists = {name: value for name, value in given.items() if isinstance(value, (list, tuple))}
        if not lists:
            return self._predict([given])[0]
        lengths = {name: len(value) for name, value in lists.items()}
        if len(lists) < len(given) or len(set(lengths.values())) > 1:
            said = ", ".join(f"{name}: {lengths.get(name, 'one image')}" for name in given)
            raise UserError(f"expected lists of one length for all modalities, found {said}")
        scenes = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        return self._predict([{name: item for name, item in scene.items() if item is not None} for scene in scenes])

    def read(self, sources: Mapping[str, Any], setting: str = 'sizes="any"') -> Scene:
        """Reads and prepares the images of a scene, as training and testing do.

        Args:
            sources: As in `predict`, of one scene.
            setting: What would let the images differ in size, for the message.

        Raises:
            UserError: As in `predict`.
        """
        missing = [name for name in self.modalities if sources.get(name) is None]
        if len(missing) == len(self.modalities):
            raise UserError(f"no image: expected one of each of {', '.join(self.modalities)}")
        if missing and not self.allow_missing:
            raise UserError(f"no {missing[0]} image: the model takes {', '.join(self.modalities)}; {self.if_missing}")
        given = {name: self._source(name, sources[name]) for name in self.modalities if name not in missing}
        return Scene(*read_scene(given, self._settings, self.config.model.image_size, self.config.data.sizes, setting))

    def batches(self, items: Iterable[T], scene_of: Callable[[T], Scene]) -> Iterator[list[T]]:
        """Cuts items into what goes through the network together: neighbours with images of the same modalities."""
        for _, alike in groupby(items, lambda item: list(scene_of(item).images)):
            while batch := list(islice(alike, self.batch_size)):
                yield batch

    def _predict(self, sources: Sequence[Mapping[str, Any]]) -> list[SaliencyResult]:
        results: list[SaliencyResult] = []
        for first in range(0, len(sources), self.batch_size):  # no more than a batch is in memory
            start = time.perf_counter()
            indices = range(first, min(first + self.batch_size, len(sources)))
            scenes = [self._numbered(sources[i], f"image {i}: " if len(sources) > 1 else "") for i in indices]
            batches = self.batches(scenes, lambda scene: scene)
            logits = [maps for batch in batches for maps in self.infer(batch, streams=True)]
            for index, maps in zip(indices, logits, strict=True):
                check_finite(maps, f"image {index}")
            made = [self._saliency(maps, scene.shape) for maps, scene in zip(logits, scenes, strict=True)]
            seconds = (time.perf_counter() - start) / len(scenes)
            results += [SaliencyResult(maps.pop(FINAL), maps, seconds) for maps in made]
        return results

    def _numbered(self, sources: Mapping[str, Any], place: str) -> Scene:
        """`read`, with the place in the list in what is said of a fault."""
        try:
            return self.read(sources)
        except UserError as error:
            raise UserError(*(f"{place}{fault}" for fault in error.args)) from None

    def _saliency(self, maps: Maps, shape: tuple[int, int]) -> Maps:
        return {name: to_saliency(logits, shape, self.config.test) for name, logits in maps.items()}

    def _known(self, images: Mapping[str, Any]) -> tuple[str, ...]:
        for name in images:
            if name not in self.modalities:
                near = nearest(name, self.modalities)
                raise UserError(f"{name}: the model has no such modality{near}; it takes {', '.join(self.modalities)}")
        return self.modalities

    def _source(self, name: str, item: Any) -> Source:
        """A path, or values as a file of this modality would hold them."""
        if isinstance(item, (str, os.PathLike)):
            return Path(item)
        values = np.asarray(item)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[..., 0]
        if values.dtype.kind not in "uif" or not values.size or values.shape[2:] not in ((), (3,)) or values.ndim < 2:
            found = f"{values.dtype} of the shape {list(values.shape)}"
            raise UserError(f"the {name} image: expected a path or numbers of shape [H,W] or [H,W,3], found {found}")
        if values.dtype.kind == "f" and self._settings[name].scale == "cut":  # a photograph
            if not (values.min() >= 0 and values.max() <= 1):
                raise UserError(f"the {name} image: expected 8 or 16 bits, or floating point in 0-1")
            values = np.rint(values * 255).astype(np.uint8)
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def set_sizes(config: Config, sizes: Sizes | None) -> None:
    """Chooses whether the images of a scene may differ in size; None: as in the training.

    Raises:
        UserError: It is neither `any` nor `equal`.
    """
    if sizes not in (None, *get_args(Sizes)):
        raise UserError(f"sizes: expected {' or '.join(get_args(Sizes))}, found {sizes!r}")
    config.data.sizes = sizes or config.data.sizes
