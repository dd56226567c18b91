"""Pictures of a scene with its map: the overlay, and everything side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from samsod.config.data_schema import DataConfig
from samsod.data.decoding.images import Bytes, as_bytes
from samsod.data.pair_images import read_modalities
from samsod.data.pictures import Floats, quantised
from samsod.data.sources.modalities import settings_of
from samsod.evaluation.contact_sheet import contact_sheet
from samsod.prediction.items import Item
from samsod.prediction.result import overlay_of

OVERLAYS, SIDE_BY_SIDE = "overlays", "side_by_side"
HIGHEST = 480
"""Pixels of an image's height among pictures side by side; higher ones are shrunk."""


@dataclass(frozen=True)
class Look:
    """What there is to see of a scene.

    Attributes:
        stem: Its name.
        images: By modality, the reference first, uint8 `[H,W,3]` red first or `[H,W]`; None where there is no image.
    """

    stem: str
    images: Mapping[str, Bytes | None]

    @property
    def reference(self) -> Bytes:
        """The image that the map belongs to: the first that is there."""
        return next(image for image in self.images.values() if image is not None)


def read_look(item: Item, modalities: Sequence[str], data: DataConfig, whole: bool) -> Look:
    """Reads a scene to be looked at, as the network sees it before it is resized.

    Args:
        item: The scene.
        modalities: Which are shown, those without an image too.
        data: How they are read.
        whole: All of them, instead of the reference alone.

    Raises:
        UserError: A file cannot be used.
    """
    names = list(item.images) if whole else [next(iter(item.images))]
    settings = {name: settings_of(name, data) for name in names}
    read, _ = read_modalities({name: item.images[name] for name in names}, settings)
    return Look(item.stem, {name: read.get(name) for name in modalities})


def overlay(look: Look, saliency: Floats) -> Bytes:
    """The map laid in red over the reference, uint8 `[H,W,3]`."""
    return overlay_of(saliency, look.reference)


def side_by_side(look: Look, saliency: Floats) -> Bytes:
    """Each modality's image, the map and the overlay in a row under titles, uint8 `[h,w,3]`."""
    columns = {**look.images, "saliency": quantised(saliency), "overlay": overlay(look, saliency)}
    height = min(HIGHEST, saliency.shape[0])
    return as_bytes(contact_sheet([(look.stem, list(columns.values()))], list(columns), height))


PICTURES: Mapping[str, Callable[[Look, Floats], Bytes]] = {OVERLAYS: overlay, SIDE_BY_SIDE: side_by_side}
"""The kinds of pictures by name, which is that of their folder."""
