"""Writes the demo set in the layout of VT5000 (with D beside RGB and T, if asked for), whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.data.synthetic.scenes import VERSION, Bytes, Scene, make_scene
from samsod.utils.errors import UserError

SPLITS = ("Train", "Test")
FILES = {"rgb": ("RGB", ".jpg"), "depth": ("D", ".png"), "thermal": ("T", ".jpg")}
"""By modality, the folder and the ending of its images; JPEG would blur the holes of depth, where it has no reading."""
MASKS = ("GT", ".png")
DEFAULT = ("rgb", "thermal")
RECORD = "demo_set.json"
JPEG_QUALITY = 95


def encoded(suffix: str, image: Bytes) -> bytes:
    """The bytes of an image file; colours in OpenCV's order, blue first."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    written, data = cv2.imencode(suffix, image, settings)
    assert written, f"OpenCV did not encode a {suffix} of shape {image.shape}"
    return data.tobytes()


def write_scene(folder: Path, stem: str, scene: Scene) -> None:
    """Writes one scene into folders below `folder`; the thermal image gets three equal channels."""
    for name, image in {**scene.images, "": scene.mask}.items():
        place, suffix = FILES.get(name, MASKS)
        if name == "thermal":
            image = np.repeat(image[..., None], 3, axis=2)
        path = folder / place / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(suffix, np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image)))


def write_set(root: Path, counts: tuple[int, int], size: int, seed: int, modalities: Sequence[str] = DEFAULT) -> None:
    """Writes both splits below `root`, which must not hold them yet."""
    for split, (name, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for index in range(count):
            write_scene(root / name, f"{index + 1:04d}", make_scene(seed, split, index, size, modalities))


def recorded(output: Path) -> dict[str, Any] | None:
    """The parameters of the set that `output` holds, or None where the record and the files disagree."""
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
        expected = {name: record[name.lower()] for name in SPLITS}
        record.setdefault("modalities", list(DEFAULT))  # older records do not say
        folders = [FILES[name][0] for name in record["modalities"]] + [MASKS[0]]
        found = [(name, len(os.listdir(output / "VT5000" / name / sub))) for name in SPLITS for sub in folders]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if all(count == expected[name] for name, count in found) else None


def install(made: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Moves a finished set to its place; what stood there is deleted if this program made it, else kept."""
    target, spare = output / "VT5000", made.parent / "replaced"  # made.parent is deleted in the end
    if os.path.lexists(target):
        if recorded(output) is None:
            spare = Path(tempfile.mkdtemp(prefix="VT5000.replaced-", dir=output)) / "VT5000"
            print(f"{target} was not made by this program: kept as {spare}")
        (output / RECORD).unlink(missing_ok=True)
        target.rename(spare)
    made.rename(target)
    record = made.parent / RECORD
    record.write_text(json.dumps(parameters) + "\n", encoding="utf-8")
    record.replace(output / RECORD)


def make_set(
    output: Path,
    counts: tuple[int, int],
    size: int,
    seed: int,
    force: bool = False,
    modalities: Sequence[str] = DEFAULT,
) -> None:
    """Makes `output`/VT5000, whole or not at all, unless `output` already holds the same set.

    Raises:
        UserError: Another VT5000 is in the way and `force` is off, or `output` cannot be written.
    """
    target = output / "VT5000"
    parameters: dict[str, Any] = {"version": VERSION, "train": counts[0], "test": counts[1], "size": size, "seed": seed}
    parameters["modalities"] = list(modalities)
    if os.path.lexists(target) and not force:
        if recorded(output) == parameters:
            print(f"{target} already holds this set")
            return
        raise UserError(f"{target} exists and is not this set: choose another --output, or use --force")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".demo_set-", dir=output) as temporary:
            made = Path(temporary) / "VT5000"
            write_set(made, counts, size, seed, modalities)
            install(made, output, parameters)
    except OSError as error:
        raise UserError(f"--output {output}: {error}") from error
    print(f"{target}: {counts[0]} training and {counts[1]} test scenes of {size} x {size} px, seed {seed}")
