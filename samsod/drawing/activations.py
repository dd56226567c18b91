"""High- and low-activation maps of a model's blocks over the images they come from (paper Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from samsod.config import DataConfig
from samsod.data.decoding.images import Bytes
from samsod.data.pair_images import check_sizes, read_pictures
from samsod.data.sources.catalog import PairSet
from samsod.data.sources.modalities import settings_of
from samsod.data.transforms import resize, to_tensor
from samsod.drawing.choice import find_images
from samsod.drawing.mosaic import Mosaic, Tile
from samsod.modeling.activations import ActivationMaps, activation_maps
from samsod.modeling.samsod import SaliencyModel, Samsod
from samsod.utils.errors import UserError

PERCENTILES = (1, 99)
REMARK = "mean kept activation of each token; a column's colours span its 1st to 99th percentile"


@dataclass(frozen=True, eq=False)
class Example:
    """The images of a pair by modality, uint8 H×W×3, the reference first, and what the figure calls them."""

    name: str
    images: Mapping[str, Bytes]


def named_examples(sets: Sequence[PairSet], names: Sequence[str], data: DataConfig) -> list[Example]:
    """Reads pairs by stem (or `SET/STEM`); errors are those of `find_images` and `read_example`."""
    return [replace(read_example(pair.images, data), name=pair.stem) for _, pair in find_images(sets, names)]


def read_example(files: Mapping[str, Path], data: DataConfig) -> Example:
    """Reads a pair from files by modality, the reference first.

    Raises:
        UserError: A file cannot be used, or two differ in size and may not.
    """
    images = read_pictures(files, data)
    if data.sizes == "equal":
        check_sizes(files, {name: image.shape for name, image in images.items()}, "data.sizes=any")
    return Example(next(iter(files.values())).stem, images)


def chosen_blocks(model: SaliencyModel, blocks: Sequence[int]) -> list[int]:
    """The blocks to draw: those asked for, or the last one of every stage.

    Raises:
        UserError: The model has no such block, or is no `samsod` model.
    """
    if not isinstance(model, Samsod):
        raise UserError(f"model.name={model.config.name}: only samsod has blocks with adapters to draw")
    depth = len(model.encoder.widths)
    if wrong := [block for block in blocks if not 0 <= block < depth]:
        raise UserError(f"--blocks: the model has no block {wrong[0]}; expected 0 to {depth - 1}")
    return list(dict.fromkeys(blocks)) or list(model.encoder.stage_ends)


def activation_mosaics(
    model: SaliencyModel, examples: Sequence[Example], blocks: Sequence[int], data: DataConfig
) -> list[Mosaic]:
    """The figure of some pairs, a mosaic per modality: a column for the image, two for high and low of every block.

    Every pair goes through the model on its own, so that with `gate_scope: batch` none depends on the others.

    Raises:
        UserError: See `chosen_blocks`; or the adapters have no such activations; or a pair lacks a modality.
    """
    blocks = chosen_blocks(model, blocks)
    assert isinstance(model, Samsod)
    model.eval()
    rows: dict[str, list[tuple[str, list[Tile]]]] = {}
    for example in examples:
        images = _inputs(model, example, data)
        for modality, by_block in activation_maps(model, images, blocks).items():
            image = example.images[modality]
            heats = [level[0].cpu().numpy() for block in blocks for level in by_block[block]]
            tiles = [Tile(image), *(Tile(_grey(image), heat=heat) for heat in heats)]
            rows.setdefault(modality, []).append((example.name, tiles))
    names = [f"block {block}\n{level}" for block in blocks for level in ActivationMaps._fields]
    *others, last = (Mosaic([modality, *names], part, _ranges(part)) for modality, part in rows.items())
    return [*others, replace(last, remark=REMARK)]


def _inputs(model: Samsod, example: Example, data: DataConfig) -> dict[str, torch.Tensor]:
    """The network's inputs `[1,3,S,S]` by modality."""
    device, side = next(model.parameters()).device, model.config.image_size
    inputs = {}
    for name in model.modalities:
        if name not in example.images:
            wanted = ", ".join(model.modalities)
            raise UserError(f"{example.name}: no image of the modality {name}; model.modalities is [{wanted}]")
        normalize = bool(settings_of(name, data).normalize)
        inputs[name] = to_tensor(resize([example.images[name]], side)[0], normalize)[None].to(device)
    return inputs


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
