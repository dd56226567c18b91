"""Which settings a checkpoint may be tested with."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samsod.config import Config, ModelConfig
from samsod.config.data_schema import ModalityConfig
from samsod.data.decoding.images import cv2
from samsod.engine.checkpoint import model_state, save_checkpoint
from samsod.evaluation.settings import check_settings
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from samsod.utils.files import locked
from samsod.workflows import test as run_test
from tests.ranks import run_ranks


def content_of(config: Config) -> dict[str, Any]:
    """As a checkpoint holds it."""
    content: dict[str, Any] = json.loads(json.dumps({"config": asdict(config)}))
    return content


def changed(trained: Config, given: Config, *allowed: str) -> str:
    with pytest.raises(UserError) as caught:
        check_settings(content_of(trained), given, allowed, "best.pt")
    return str(caught.value)


def test_what_changes_predictions_is_named_and_refused() -> None:
    trained, given = Config(), Config()
    given.model.dense_prompt = False
    given.model.adapter.scale = 1.0
    given.data.modalities = {"thermal": ModalityConfig(invert=True)}
    assert changed(trained, given) == (
        "best.pt: would predict otherwise than it was trained to: "
        "model.dense_prompt was true in training and is false now; "
        "model.adapter.scale was 0.5 in training and is 1.0 now; "
        "data.modalities.thermal.invert was false in training and is true now; to have it so: "
        "--allow-changed model.dense_prompt --allow-changed model.adapter.scale "
        "--allow-changed data.modalities.thermal.invert"
    )
    assert "data.modalities.thermal.invert was true" in changed(given, trained, "model.dense_prompt")
    allowed = ("model.dense_prompt", "model.adapter.scale", "data.modalities.thermal.invert")
    assert [remark.split()[1] for remark in check_settings(content_of(trained), given, allowed, "best.pt")] == [
        *allowed
    ]


def test_options_are_compared_both_ways() -> None:
    trained, given = Config(), Config()
    given.model.adapter.options = {"window": 5}
    assert "model.adapter.options.window was unset in training and is 5 now" in changed(trained, given)
    assert "model.adapter.options.window was 5 in training and is unset now" in changed(given, trained)


def test_what_changes_no_prediction_is_free_and_the_size_a_note() -> None:
    trained, given = Config(), Config()
    given.model.init_from, given.model.freeze_encoder = "x.pt", False
    given.model.adapter.gate_gradient = "none"
    given.train.lr, given.test.resize, given.data.workers = 1.0, "saliency", 7
    given.data.modalities = {"rgb": ModalityConfig(normalize=True, over_exposure=0.5, crossover=0.5)}  # as is usual
    assert check_settings(content_of(trained), given, (), "best.pt") == []
    given.model.image_size = 320
    (remark,) = check_settings(content_of(trained), given, (), "best.pt")
    assert remark == "note: model.image_size was 512 in training and is 320 now"


def test_a_checkpoint_from_before_a_setting_was_there_had_its_default() -> None:
    content = content_of(Config())
    del content["config"]["model"]["dense_prompt"], content["config"]["data"]
    assert check_settings(content, Config(), (), "best.pt") == []
    given = replace(Config(), model=replace(ModelConfig(), dense_prompt=False))
    with pytest.raises(UserError, match="dense_prompt was true"):
        check_settings(content, given, (), "best.pt")


def checkpoint(config: Config, path: Path) -> str:
    """A checkpoint of an untrained model."""
    torch.manual_seed(0)
    save_checkpoint(path, {**content_of(config), "model": model_state(Samsod(config.model)), "base": None})
    return str(path)


def refusals(config: Config, path: str, output: Path) -> list[str]:
    """What a test of other settings says, and one into a folder that another process holds."""
    device, said = torch.device("cpu"), []
    other = replace(config, model=replace(config.model, dense_prompt=False))
    for given in (other, config):
        with pytest.raises(UserError) as caught:
            run_test(given, device, path, output)
        said.append(str(caught.value))
    return said


def test_all_ranks_refuse_other_settings_and_a_folder_in_use(config: Config, tmp_path: Path) -> None:
    path, output = checkpoint(config, tmp_path / "best.pt"), tmp_path / "test"
    with locked(output):
        for settings, lock in run_ranks(refusals, 2, config, path, output):
            assert settings.startswith(f"{path}: would predict otherwise") and "model.dense_prompt" in settings
            assert lock.startswith(f"{output}: process ") and "is working in it" in lock and "\n" not in lock
    assert [item.name for item in output.iterdir()] == [".lock"]


def test_an_allowed_change_is_logged(config: Config, tmp_path: Path) -> None:
    path = checkpoint(config, tmp_path / "best.pt")
    config = replace(
        config, model=replace(config.model, dense_prompt=False), test=replace(config.test, contact_sheet=0)
    )
    results = run_test(config, torch.device("cpu"), path, tmp_path / "test", allowed=["model.dense_prompt"])
    assert results["final"]["again"]["images"] == 12
    assert "note: model.dense_prompt was true" in (tmp_path / "test" / "log.txt").read_text()


def test_a_set_without_images_of_a_modality_is_tested_with_the_others(config: Config, tmp_path: Path) -> None:
    path = checkpoint(config, tmp_path / "best.pt")
    root = Path(config.data.test[0].root)
    shutil.rmtree(root / "RGB")
    with pytest.raises(UserError, match="no folder of RGB images"):
        run_test(config, torch.device("cpu"), path, tmp_path / "test")
    settings = replace(config.test, modalities=["thermal"], streams=True, contact_sheet=1)
    config = replace(config, test=settings, data=replace(config.data, skip_bad=True))
    cv2.imwrite(str(root / "T" / "000.png"), np.zeros((30, 30), np.uint8))  # whose size is not its mask's
    results = run_test(config, torch.device("cpu"), path, tmp_path / "test")
    assert set(results) == {"final", "thermal"} and results["final"] == results["thermal"]
    assert results["final"]["again"]["images"] == 11 and (tmp_path / "test" / "contact_sheet.png").is_file()


def test_the_papers_rows_are_looked_for_before_the_work(config: Config, tmp_path: Path) -> None:
    path = checkpoint(config, tmp_path / "best.pt")
    with pytest.raises(UserError, match="name the sets alike"):
        run_test(config, torch.device("cpu"), path, tmp_path / "test", reported=["SAMSOD-tiny"])
    assert not (tmp_path / "test").exists()
