"""A small model, exported once for all tests."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.config import Config, ModelConfig, TestConfig, TrunkConfig
from samsod.prediction.export import exporting
from samsod.prediction.export.exporting import Exported, export_model
from samsod.prediction.export.graph import Graph, trace
from samsod.prediction.predictor import Predictor
from tests.conftest import RGBT, SIZE, write_checkpoint


@dataclass(frozen=True)
class ExportedFiles:
    """A checkpoint, and what was made of it."""

    checkpoint: Path
    onnx: Path
    onnx_done: Exported
    pt2: Path
    pt2_done: Exported
    pt2_opened: tuple[Any, dict[str, str]]
    """its module, and its metadata"""


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ExportedFiles:
    """Exports what every test here looks at."""
    folder = tmp_path_factory.mktemp("exported")
    trunk = TrunkConfig(stages=[1, 1, 1, 1], global_att_blocks=[2])
    model = ModelConfig(size="micro", decoder_width=32, image_size=SIZE, freeze_encoder=False, trunk=trunk)
    checkpoint = write_checkpoint(folder / "best.pt", Config(model=model, test=TestConfig(batch_size=2)))
    predictor = Predictor.from_checkpoint(checkpoint, "cpu")
    onnx, pt2 = folder / "new" / "model.onnx", folder / "model.pt2"
    origin = {"file": "best.pt", "sha256": "0" * 64}
    traced = functools.cache(lambda: trace(Graph(predictor.model, RGBT), SIZE))  # what takes longest, once for both
    opened: list[Any] = []
    metadata = dict.fromkeys((f"samsod.{key}" for key in ("inputs", "format", "maps", "config")), "")
    load = torch.export.load

    def open_once(path: Path) -> Any:  # reading the file takes seconds too
        opened.append(load(path, extra_files=metadata))
        return opened[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "trace", lambda *_: traced())
        onnx_done = export_model(predictor, onnx, origin, openvino=True)
        patch.setattr(torch.export, "load", open_once)
        pt2_done = export_model(predictor, pt2, origin)
    return ExportedFiles(checkpoint, onnx, onnx_done, pt2, pt2_done, (opened[0].module(), metadata))
