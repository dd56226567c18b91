"""What runs exported files: each a function from images to maps, so that all can be held to the same results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from samsod.data.pictures import Floats
from samsod.prediction.onnx_predictor import open_session

Run = Callable[[Mapping[str, Floats]], dict[str, Floats]]
"""Prepared images `[B,3,S,S]` by modality to maps `[B,1,S,S]` by output."""


def runtimes(path: Path, openvino: bool = False) -> dict[str, Callable[[Path], Run]]:
    """What opens such a file, by name: PyTorch for `.pt2`, onnxruntime and if wanted OpenVINO for `.onnx`."""
    if path.suffix == ".pt2":
        return {"torch.export": _torch}
    return {"onnxruntime": _onnxruntime, **({"OpenVINO": _openvino} if openvino else {})}


def _torch(path: Path) -> Run:
    module = torch.export.load(path).module()

    def run(images: Mapping[str, Floats]) -> dict[str, Floats]:
        with torch.inference_mode():
            maps = module({name: torch.from_numpy(values) for name, values in images.items()})
        return {name: values.numpy() for name, values in maps.items()}

    return run


def _onnxruntime(path: Path) -> Run:
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, dict(images)), strict=True))


def _openvino(path: Path) -> Run:
    import openvino

    # Some CPUs would otherwise be given bfloat16.
    compiled = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [output.get_any_name() for output in compiled.outputs]
    return lambda images: {
        name: np.asarray(values) for name, values in zip(names, compiled(dict(images)).values(), strict=True)
    }
