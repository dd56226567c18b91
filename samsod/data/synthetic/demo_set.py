"""Writes the demo set in the layout of VT5000, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from samsod.data.decoding.images import cv2
from samsod.data.synthetic.scenes import VERSION, Bytes, Scene, make_scene
from samsod.utils.errors import UserError

SPLITS = ("Train", "Test")
FOLDERS = ("RGB", "T", "GT")
RECORD = "demo_set.json"
JPEG_QUALITY = 95


def encoded(suffix: str, image: Bytes) -> bytes:
    """The bytes of an image file; colours in OpenCV's order, blue first."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    written, data = cv2.imencode(suffix, image, settings)
    assert written, f"OpenCV did not encode a {suffix} of shape {image.shape}"
    return data.tobytes()


def write_scene(folder: Path, stem: str, scene: Scene) -> None:
    """Writes one scene into `folder`/RGB, T and GT; the thermal image gets three equal channels."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    bgr, grey = scene.rgb[..., ::-1], np.repeat(scene.thermal[..., None], 3, axis=2)
    (folder / "RGB" / f"{stem}.jpg").write_bytes(encoded(".jpg", np.ascontiguousarray(bgr)))
    (folder / "T" / f"{stem}.jpg").write_bytes(encoded(".jpg", grey))
    (folder / "GT" / f"{stem}.png").write_bytes(encoded(".png", scene.mask))


def write_set(root: Path, counts: tuple[int, int], size: int, seed: int) -> None:
    """Writes both splits below `root`, which must not hold them yet."""
    for split, (name, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for index in range(count):
            write_scene(root / name, f"{index + 1:04d}", make_scene(seed, split, index, size))


def recorded(output: Path) -> dict[str, Any] | None:
    """The parameters of the set that `output` holds, or None where the record and the files disagree."""
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
        expected = {name: record[name.lower()] for name in SPLITS}
        found = [(name, len(os.listdir(output / "VT5000" / name / sub))) for name in SPLITS for sub in FOLDERS]
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


def make_set(output: Path, counts: tuple[int, int], size: int, seed: int, force: bool = False) -> None:
    """Makes `output`/VT5000, whole or not at all, unless `output` already holds the same set.

    Raises:
        UserError: Another VT5000 is in the way and `force` is off, or `output` cannot be written.
    """
    target = output / "VT5000"
    parameters = {"version": VERSION, "train": counts[0], "test": counts[1], "size": size, "seed": seed}
    if os.path.lexists(target) and not force:
        if recorded(output) == parameters:
            print(f"{target} already holds this set")
            return
        raise UserError(f"{target} exists and is not this set: choose another --output, or use --force")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".demo_set-", dir=output) as temporary:
            made = Path(temporary) / "VT5000"
            write_set(made, counts, size, seed)
            install(made, output, parameters)
    except OSError as error:
        raise UserError(f"--output {output}: {error}") from error
    print(f"{target}: {counts[0]} training and {counts[1]} test scenes of {size} x {size} px, seed {seed}")
