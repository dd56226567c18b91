"""Scribbles from full masks, to try training on them with any data set.

The object gets a stroke along the middle of each of its parts, the background one or two around it, halfway between
the object and the border of the image: where a person puts them who shows what is what without tracing outlines.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from samsod.config.data_schema import DatasetConfig
from samsod.data.decoding.images import Bytes, Mask, cv2, read_rgb, read_truth
from samsod.data.pictures import write_png
from samsod.data.sources.catalog import Pair, look_up
from samsod.data.sources.folders import images_by_stem
from samsod.data.synthetic.strokes import Stroke, region_strokes
from samsod.utils.errors import UserError, collected
from samsod.utils.files import check_writable, temporary_folder

FOREGROUND, LABELLED = "foreground", "labelled"
SPECK = 0.02  # parts of the object smaller than this share of its largest are passed over
MARGIN = 0.04  # a background stroke keeps this far from the object, in the image's shorter side
THINNEST = 0.01  # width of a stroke when none is given, in the image's shorter side
MOST_STROKES = 2  # in one part of the object, and in the background
FOREGROUND_INK, BACKGROUND_INK = (255, 40, 40), (40, 90, 255)


class Scribbles(NamedTuple):
    """Strokes on a mask: those on the object, and all of them; bool, H×W."""

    foreground: Mask
    labelled: Mask


def scribble(mask: Mask, rng: np.random.Generator, width: int | None = None) -> Scribbles:
    """Draws strokes on object and background; none is wrong, because each ends where its region does.

    Args:
        mask: bool, H×W, True on the object; may be empty or full.
        rng: Decides everything that is left to chance.
        width: Width of the strokes in pixels; None: a hundredth of the image's shorter side, at least 2.
    """
    width = width or max(2, round(THINNEST * min(mask.shape)))
    foreground, background = np.zeros_like(mask), np.zeros_like(mask)
    for part in _parts(mask):
        foreground |= _drawn(region_strokes(part, rng, MOST_STROKES), part, width)
    far = _far_from(mask)
    if far.any():
        background = _drawn(region_strokes(far, rng, MOST_STROKES), ~mask, width)
    return Scribbles(foreground, foreground | background)


def scribble_file(path: Path, seed: int, width: int | None = None) -> Scribbles:
    """The scribbles of a mask, the same for the same (seed, stem).

    Raises:
        UserError: The file is not a mask.
    """
    words = np.frombuffer(hashlib.sha256(path.stem.encode("utf-8", "surrogateescape")).digest()[:16], np.uint32)
    return scribble(read_truth(path), np.random.default_rng([seed, *words.tolist()]), width)


def find_masks(folder: Path) -> list[Path]:
    """The masks of a folder, by stem.

    Raises:
        UserError: No such folder, nothing in it, or two files of one stem.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--gt {folder}: no such folder")
    return list(images_by_stem(folder).values())


def make_scribbles(masks: Iterable[Path], output: Path, seed: int, width: int | None = None) -> tuple[float, float]:
    """Writes the foreground strokes and the labelled region of every mask into two folders, whole or not at all.

    Args:
        masks: Files; wrapped in something that shows progress, if need be.
        output: Where the folders `foreground` and `labelled` are put; they must not be there yet.
        seed: Another seed, other strokes.
        width: Width of the strokes in pixels; see `scribble`.

    Returns:
        The mean shares of pixels that are labelled foreground and labelled at all.

    Raises:
        UserError: The folders are there, cannot be written, or files are no masks (one line each).
    """
    targets = [output / name for name in (FOREGROUND, LABELLED)]
    for target in targets:
        if os.path.lexists(target):
            raise UserError(f"{target} exists: delete it, or choose another --output")
    check_writable(output)
    output.mkdir(parents=True, exist_ok=True)
    with temporary_folder(output, ".scribbles-") as temporary:
        made = [temporary / target.name for target in targets]
        shares = _write(masks, made, seed, width)
        for folder, target in zip(made, targets, strict=True):
            folder.rename(target)
    return shares


def as_config(masks: Path, output: Path, modalities: Sequence[str]) -> tuple[str, dict[str, Pair]]:
    """What a config says of the scribbles in `output`, made from the folder `masks`, and their pairs by stem.

    Where no images of the modalities lie beside the masks, there are no pairs, and the text leaves their folders open.
    """
    config = DatasetConfig(
        "scribbles",
        root=str(masks.resolve().parent),
        ground_truth=str((output / FOREGROUND).resolve()),
        labelled=str((output / LABELLED).resolve()),
    )
    places: dict[str, object] = {"root": config.root, "ground_truth": config.ground_truth, "labelled": config.labelled}
    try:
        pairs = {pair.stem: pair for pair in look_up(config, "", modalities).whole.pairs}
    except UserError:
        pairs = {}
        places["folders"] = {name: f"FOLDER_OF_{name.upper()}_IMAGES" for name in modalities}
    return f"{{family: scribbles, {', '.join(f'{key}: {json.dumps(place)}' for key, place in places.items())}}}", pairs


def overlays(mask: Path, output: Path, pairs: Mapping[str, Pair]) -> tuple[Bytes | None, Bytes]:
    """Pictures of a mask's strokes, foreground red and background blue: over the reference image, if any, and mask."""
    foreground, labelled = (read_truth(output / name / f"{mask.stem}.png") for name in (FOREGROUND, LABELLED))
    truth = np.where(read_truth(mask)[..., None], np.uint8(255), np.uint8(90)).repeat(3, axis=2)
    grounds = [read_rgb(pairs[mask.stem].reference) if mask.stem in pairs else None, truth]
    for ground in grounds:
        if ground is not None and ground.shape == truth.shape:
            ground[labelled] = BACKGROUND_INK
            ground[foreground] = FOREGROUND_INK
    return grounds[0], truth


def _write(masks: Iterable[Path], folders: Sequence[Path], seed: int, width: int | None) -> tuple[float, float]:
    faults: list[str] = []
    shares = []
    for folder in folders:
        folder.mkdir()
    for path in masks:
        with collected(faults):
            scribbles = scribble_file(path, seed, width)
            shares.append([strokes.mean() for strokes in scribbles])
            for folder, strokes in zip(folders, scribbles, strict=True):
                write_png(folder / f"{path.stem}.png", strokes.astype(np.uint8) * np.uint8(255))
    if faults:
        raise UserError(*faults)
    foreground, labelled = np.mean(shares, axis=0).tolist()
    return foreground, labelled


def _parts(mask: Mask) -> Iterable[Mask]:
    """The connected parts of the object that a person would not pass over."""
    count, labels, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = figures[1:, cv2.CC_STAT_AREA]
    for label in range(1, count):
        if areas[label - 1] >= SPECK * areas.max():
            yield np.asarray(labels == label)


def _far_from(mask: Mask) -> Mask:
    """The background without a margin around the object, less of it where there is little background."""
    if not mask.any():
        return ~mask
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away > min(MARGIN * min(mask.shape), 0.5 * float(away.max())))


def _drawn(strokes: Iterable[Stroke], region: Mask, width: int) -> Mask:
    """The strokes as pixels of the region."""
    drawn = np.zeros(region.shape, np.uint8)
    for stroke in strokes:
        points = np.rint(stroke).astype(np.int32)
        cv2.polylines(drawn, [points], isClosed=False, color=1, thickness=width)
    inside = (drawn > 0) & region
    if not inside.any():  # a region so thin that the stroke missed it gets a dot
        inside.flat[cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5).argmax()] = True
    return inside
