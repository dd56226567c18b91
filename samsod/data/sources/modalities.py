"""The modalities samsod knows by name: what is usual for each. Any other name is a modality of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from samsod.config.data_schema import DataConfig, ModalityConfig


class Role(NamedTuple):
    """What one folder of a set holds: what messages call an image of it, and the folder's usual names, best first."""

    called: str
    names: tuple[str, ...]


MODALITIES: Mapping[str, Role] = {
    "rgb": Role("RGB image", ("RGB", "Img", "Imgs", "image", "images", "visible", "vis", "RGB left", "V")),
    "depth": Role("depth image", ("depth", "depths", "D", "dep", "depth map", "depth maps")),
    "thermal": Role("thermal image", ("T", "thermal", "th", "IR", "infrared", "thermals")),
}
COLOURED = ("rgb",)
"""Photographs: they come in 8 bits or are cut to it, and SAM2 knows them standardised."""


def role_of(modality: str) -> Role:
    """What a modality's folder holds; one of the user's own is called as the modality is."""
    return MODALITIES.get(modality) or Role(f"{modality} image", (modality,))


def settings_of(modality: str, data: DataConfig) -> ModalityConfig:
    """How a modality is read and augmented: as `data.modalities` says, and what it leaves open as is usual."""
    found = data.modalities.get(modality) or ModalityConfig()
    coloured = modality in COLOURED
    return replace(
        found,
        normalize=coloured if found.normalize is None else found.normalize,
        scale=("cut" if coloured else "image") if found.scale is None else found.scale,
    )
