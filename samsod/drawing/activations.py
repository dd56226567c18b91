"""High- and low-activation maps of a model's blocks over the images they come from (paper Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from samsod.config import DataConfig
from samsod.data.decoding.images import Bytes, read_rgb
from samsod.data.decoding.modality import read_modality
from samsod.data.sources.catalog import PairSet
from samsod.data.sources.modalities import settings_of
from samsod.data.transforms import resize, to_tensor
from samsod.drawing.choice import find_images
from samsod.drawing.mosaic import Mosaic, Tile
from samsod.modeling.activations import ActivationMaps, activation_maps
from samsod.modeling.samsod import RGB, THERMAL, SaliencyModel, Samsod
from samsod.utils.errors import UserError

CALLED = {RGB: "RGB", THERMAL: "thermal"}
PERCENTILES = (1, 99)
REMARK = "mean kept activation of each token; a column's colours span its 1st to 99th percentile"


@dataclass(frozen=True, eq=False)
class Pair:
    """An RGB and a thermal image, uint8 H×W×3, and what the figure calls them; no thermal image for RGB alone."""

    name: str
    rgb: Bytes
    thermal: Bytes | None


def named_pairs(sets: Sequence[PairSet], names: Sequence[str], data: DataConfig) -> list[Pair]:
    """Reads pairs by stem (or `SET/STEM`); errors are those of `find_images` and `read_pair`."""
    return [read_pair(pair.images[RGB], pair.images.get(THERMAL), data) for _, pair in find_images(sets, names)]


def read_pair(rgb: Path, thermal: Path | None, data: DataConfig) -> Pair:
    """Reads a pair from files.

    Raises:
        UserError: A file cannot be used, or the two differ in size.
    """
    images = read_rgb(rgb), read_modality(thermal, settings_of(THERMAL, data)) if thermal else None
    if images[1] is not None and images[1].shape != images[0].shape:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in images if image is not None]
        raise UserError(f"{thermal} has {sizes[1]} pixels, but {rgb} has {sizes[0]}")
    return Pair(rgb.stem, *images)


def chosen_blocks(model: SaliencyModel, blocks: Sequence[int]) -> list[int]:
    """The blocks to draw: those asked for, or the last one of every stage.

    Raises:
        UserError: The model has no such block, or is no `samsod` model.
    """
    if not isinstance(model, Samsod):
        raise UserError(f"model.name={model.config.name}: only samsod has blocks with adapters to draw")
    depth = len(model.rgb_adapters)
    if wrong := [block for block in blocks if not 0 <= block < depth]:
        raise UserError(f"--blocks: the model has no block {wrong[0]}; expected 0 to {depth - 1}")
    return list(dict.fromkeys(blocks)) or list(model.trunk.stage_ends)


def activation_mosaics(
    model: SaliencyModel, pairs: Sequence[Pair], blocks: Sequence[int], data: DataConfig
) -> list[Mosaic]:
    """The figure of pairs, a mosaic per modality: a column for the image, two for high and low of every block.

    Every pair goes through the model on its own, so that with `gate_scope: batch` none depends on the others.

    Raises:
        UserError: See `chosen_blocks`; or the adapters have no such activations; or a thermal image is missing.
    """
    blocks = chosen_blocks(model, blocks)
    assert isinstance(model, Samsod)
    model.eval()
    rows: dict[str, list[tuple[str, list[Tile]]]] = {}
    for pair in pairs:
        images = _inputs(model, pair, data)
        maps = activation_maps(model, images[RGB], images.get(THERMAL), blocks)
        for modality, by_block in maps.items():
            image = pair.rgb if modality == RGB else pair.thermal
            assert image is not None
            heats = [level[0].cpu().numpy() for block in blocks for level in by_block[block]]
            tiles = [Tile(image), *(Tile(_grey(image), heat=heat) for heat in heats)]
            rows.setdefault(modality, []).append((pair.name, tiles))
    names = [f"block {block}\n{level}" for block in blocks for level in ActivationMaps._fields]
    *others, last = (Mosaic([CALLED[modality], *names], part, _ranges(part)) for modality, part in rows.items())
    return [*others, replace(last, remark=REMARK)]


def _inputs(model: Samsod, pair: Pair, data: DataConfig) -> dict[str, torch.Tensor]:
    """The network's inputs `[1,3,S,S]` by modality."""
    device, side = next(model.parameters()).device, model.config.image_size
    inputs = {RGB: to_tensor(resize([pair.rgb], side)[0], normalize=True)}
    if model.thermal_adapters is not None:
        if pair.thermal is None:
            raise UserError("--thermal: missing; the model was configured with model.modalities=[rgb,thermal]")
        inputs[THERMAL] = to_tensor(
            resize([pair.thermal], side)[0], normalize=bool(settings_of(THERMAL, data).normalize)
        )
    return {modality: image[None].to(device) for modality, image in inputs.items()}


def _grey(image: Bytes) -> np.ndarray:
    return image.mean(axis=2).astype(np.uint8)


def _ranges(rows: Sequence[tuple[str, Sequence[Tile]]]) -> dict[int, tuple[float, float]]:
    """Per column what its colours span."""
    ranges = {}
    for column in range(1, len(rows[0][1])):
        heats = [tiles[column].heat for _, tiles in rows]
        low, high = np.percentile(np.concatenate([heat.ravel() for heat in heats if heat is not None]), PERCENTILES)
        ranges[column] = (float(low), float(high))
    return ranges
