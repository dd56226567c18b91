"""Writes a trained model for other runtimes: traced, written beside, run there on pairs, and only then named."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from samsod.data.decoding.images import cv2
from samsod.data.pictures import Floats
from samsod.data.sources.catalog import find_set
from samsod.prediction.export.contract import Contract, metadata_of
from samsod.prediction.export.graph import Graph, check_packages, trace, write
from samsod.prediction.export.runtimes import Run, runtimes
from samsod.prediction.predictor import Predictor
from samsod.prediction.scene_predictor import Scene
from samsod.prediction.scenes import find_items
from samsod.utils.errors import Failure, UserError, check_installed, nearest
from samsod.utils.files import check_file_writable, temporary_folder

TOLERANCE = 1e-4
"""What saliency may differ by, and logits as a share of their largest, at least of 1."""
SCENES = 3
"""How many scenes a file is checked on: the first alone, the others together."""

Sources = list[Mapping[str, Any]]


class Exported(NamedTuple):
    """A file that was written.

    Attributes:
        size: Its bytes.
        differences: By runtime the largest difference of any map's saliency from PyTorch's.
        checked_on: What it was run on.
        seconds: What it took to write and to check.
    """

    size: int
    differences: dict[str, float]
    checked_on: str
    seconds: float


def export_model(
    predictor: Predictor,
    path: Path,
    origin: Mapping[str, Any],
    modalities: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
    openvino: bool = False,
) -> Exported:
    """Exports a model, or leaves what was at `path` as it was.

    Args:
        predictor: The model, on the CPU.
        path: The file to write, `.onnx` or `.pt2`.
        origin: What its metadata says of the checkpoint.
        modalities: Those of the model's that the file takes; empty: all.
        given: By modality where images to check it on are, as of `find_items`; empty: those of the checkpoint's own
            data sets, or made-up ones where none of them lies here.
        openvino: Also check it in OpenVINO.

    Raises:
        UserError: A modality, an image, the ending or a missing package; one line. Or the model cannot be exported.
        Failure: A runtime's maps differ from PyTorch's by more than `TOLERANCE`.
        OSError: It cannot be written.
    """
    start = time.perf_counter()
    check_export(path, openvino)
    names = _chosen(modalities, predictor.modalities)
    scenes, checked_on = _scenes(predictor, names, given or {})
    graph = Graph(predictor.model, names)
    batches = [_stacked(scenes[:1]), *([_stacked(scenes[1:])] if scenes[1:] else [])]
    expected = [_run(graph, batch) for batch in batches]
    maps = tuple(name.partition("_")[2] for name in expected[0] if name.startswith("logits_"))
    contract = Contract(predictor.config, names, maps)
    metadata = metadata_of(contract, origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path.parent, f".{path.name}.") as folder:
        partial = folder / path.name
        write(trace(graph, predictor.config.model.image_size), contract, metadata, partial)
        differences = {
            name: _compare(name, opened(partial), batches, expected, path)  # one is closed before the next is opened
            for name, opened in runtimes(partial, openvino).items()
        }
        size = partial.stat().st_size
        partial.replace(path)
    return Exported(size, differences, checked_on, time.perf_counter() - start)


def check_export(path: Path, openvino: bool) -> None:
    """What can be told before the model is loaded.

    Raises:
        UserError: The ending is none to export to, a package is missing, or the file could not be written.
    """
    check_packages(path)
    if openvino:
        if path.suffix != ".onnx":
            raise UserError(f"{path}: OpenVINO reads .onnx files")
        check_installed("to check with OpenVINO samsod", "openvino", "openvino")
    check_file_writable(path)


def _chosen(modalities: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    for name in modalities:
        if name not in known:
            raise UserError(f"--modalities: {name!r} is none of the model's {', '.join(known)}{nearest(name, known)}")
    return tuple(name for name in known if name in (modalities or known))


def _scenes(predictor: Predictor, names: Sequence[str], given: Mapping[str, str]) -> tuple[list[Scene], str]:
    """Scenes to check on, and what to call them."""
    reader = Predictor(predictor.model, predictor.config, allow_missing=True)  # of those that are not exported
    if given:
        if lacking := [name for name in names if name not in given]:
            raise UserError(f"no --{lacking[0]}: to check the file, images of {', '.join(names)} are needed")
        found = find_items(given, names, allow_missing=False)
        items = list(found.read(lambda index, _: index < SCENES))
        if not items or any(item.faults for item in items):
            faults = [*found.unmatched, *(fault for item in items for fault in item.faults)]
            raise UserError(*faults, "no images to check with")
        sources: Sources = [item.images for item in items]
        called = "the given images"
    else:
        sources, called = _own_pairs(predictor, names)
    scenes = [reader.read(images) for images in sources[:SCENES]]
    return scenes, f"{len(scenes)} of {called}"


def _own_pairs(predictor: Predictor, names: Sequence[str]) -> tuple[Sources, str]:
    data = predictor.config.data
    for dataset in (*data.test, *data.val, *data.train):
        try:
            found = find_set(dataset, data.root, names)
        except UserError:  # it lies elsewhere
            continue
        if found.pairs:
            return [pair.images for pair in found.pairs], found.name
    rng = np.random.default_rng(0)
    return [{name: _made_up(rng) for name in names} for _ in range(SCENES)], "made-up images"


def _made_up(rng: np.random.Generator) -> Any:
    """A picture of soft patches, uint8 `[240,320,3]`."""
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)


def _stacked(scenes: Sequence[Scene]) -> dict[str, Floats]:
    return {name: np.stack([scene.images[name] for scene in scenes]) for name in scenes[0].images}


def _run(graph: Graph, batch: Mapping[str, Floats]) -> dict[str, Floats]:
    with torch.inference_mode():
        maps = graph({name: torch.from_numpy(values) for name, values in batch.items()})
    return {name: values.numpy() for name, values in maps.items()}


def _compare(
    runtime: str,
    run: Run,
    batches: Sequence[Mapping[str, Floats]],
    expected: Sequence[Mapping[str, Floats]],
    path: Path,
) -> float:
    """The largest difference of a saliency map."""
    largest = 0.0
    for batch, maps in zip(batches, expected, strict=True):
        try:
            results = run(batch)
        except Exception as error:  # the runtimes' own kinds have no common base
            reason = " ".join(str(error).split())[:200]
            raise Failure(f"{path}: not written: {runtime} cannot run it ({reason})") from error
        for name, values in maps.items():
            difference = float(np.abs(results[name] - values).max())
            scale = 1.0 if name.startswith("saliency_") else max(1.0, float(np.abs(values).max()))
            if not difference <= TOLERANCE * scale:
                raise Failure(
                    f"{path}: not written: in {runtime} {name} differs from PyTorch's by {difference:.1e}, more than "
                    f"{TOLERANCE * scale:.1e}"
                )
            if name.startswith("saliency_"):
                largest = max(largest, difference)
    return largest
