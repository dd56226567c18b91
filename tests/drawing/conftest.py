"""A run that was trained for no step and tested on four pairs, with names that need escaping."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from samsod.config import Config, ModelConfig, TestConfig, to_yaml
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.sources.catalog import find_set
from samsod.drawing import html
from samsod.engine.checkpoint import model_state, save_checkpoint
from samsod.evaluation.testing import run_test
from samsod.modeling.samsod import build_model
from samsod.utils.errors import UserError
from tests.conftest import SIZE, write_pairs
from tests.runs import write_run

RUN, SET, STEM = "<b>run&co", "<i>set", "<s>0"


@pytest.fixture(scope="session")
def built_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the run and its pairs, made once."""
    root = tmp_path_factory.mktemp("built")
    pairs = write_pairs(root / "four", 4, seed=5)
    for folder in ("RGB", "T", "GT"):
        (pairs / folder / "000.png").rename(pairs / folder / f"{STEM}.png")
    run = write_run(root / RUN, 20)
    test_set = DatasetConfig(root=str(pairs), name=SET)
    config = Config(
        output=str(run),
        model=ModelConfig(size="micro", decoder_width=32, image_size=SIZE, freeze_encoder=False),
        data=DataConfig(test=[test_set], workers=0),
        test=TestConfig(streams=True),
    )
    torch.manual_seed(0)
    model = build_model(config.model)
    (run / "config.yaml").write_text(to_yaml(config))
    (run / "log.txt").write_text("2026-01-01 00:00:00 started & waited\n2026-01-01 00:00:01 step 1/2 | loss 3.1\n")
    (run / "checkpoints").mkdir()
    content = {"model": model_state(model), "base": None, "step": 20, "world_size": 1, "config": asdict(config)}
    save_checkpoint(run / "checkpoints" / "best.pt", content)
    run_test(model, [find_set(test_set, "", config.model.modalities)], config, run / "test")
    return root


@pytest.fixture
def tested_run(tmp_path: Path, built_run: Path) -> Path:
    """The run's folder, a copy of this test's own; the pairs lie beside it, in `four`."""
    shutil.copytree(built_run, tmp_path, dirs_exist_ok=True)
    config = tmp_path / RUN / "config.yaml"
    config.write_text(config.read_text().replace(str(built_run), str(tmp_path)))
    return tmp_path / RUN


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their figures and costs, which take seconds."""

    def uncounted(*_: object) -> NoReturn:
        raise UserError("not counted")

    monkeypatch.setattr("samsod.drawing.html.figure", lambda draw, alt, caption: html.note(caption))
    monkeypatch.setattr("samsod.drawing.run_report.cost", uncounted)
