"""A run on another run's encoder: trained, cut off, tested, predicted with and shared, like one on SAM2's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod import Predictor
from samsod.config import Config
from samsod.engine.checkpoint import load_checkpoint
from samsod.utils.errors import UserError
from samsod.workflows import load_model, share
from tests.training import run


@pytest.fixture
def stage_one(config: Config, tmp_path: Path) -> Path:
    """A step on RGB images alone, encoder and all."""
    model = replace(config.model, modalities=["rgb"], adapter=replace(config.model.adapter, name="none"))
    train = replace(config.train, steps=1)
    run(replace(config, output=str(tmp_path / "one"), model=model, data=replace(config.data, holdout=0), train=train))
    return shutil.copyfile(tmp_path / "one" / "checkpoints" / "step_00000001.pt", tmp_path / "one.pt")


def second(config: Config, encoder: Path, steps: int, frozen: bool = True) -> Config:
    model = replace(config.model, encoder_from=str(encoder), freeze_encoder=frozen)
    train = replace(config.train, steps=steps, checkpoint_steps=1)
    return replace(
        config, output=str(encoder.parent / "two"), model=model, data=replace(config.data, holdout=0), train=train
    )


def refused(path: Path, weights: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        Predictor.from_checkpoint(path, "cpu", weights=weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_frozen_run_from_its_log_to_its_folder_to_share(config: Config, stage_one: Path, tmp_path: Path) -> None:
    settings = second(config, stage_one, 1)
    trainer = run(settings)
    encoder = {key: value for key, value in load_checkpoint(stage_one)["model"].items() if key.startswith("encoder.")}
    state = trainer.model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in encoder.items())
    log = (tmp_path / "two" / "log.txt").read_text()
    assert f"loaded encoder and decoder from the checkpoint {stage_one}: " in log
    assert f"started at step 0 from {stage_one}" in log
    path = tmp_path / "two" / "checkpoints" / "step_00000001.pt"
    assert load_checkpoint(path)["base"]["file"] == "one.pt"
    assert not any(key.startswith("encoder.") for key in load_checkpoint(path)["model"])

    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    expected = Predictor.from_checkpoint(path, "cpu").predict(rgb=image, thermal=image).saliency
    share(str(path), tmp_path / "small")
    moved = stage_one.rename(tmp_path / "moved.pt")
    assert "it was trained on one.pt, and" in (message := refused(path)) and "say by weights where" in message
    share(str(path), tmp_path / "whole", with_encoder=True, weights=str(moved))
    card = (tmp_path / "small" / "README.md").read_text()
    assert "is the file `one.pt` of SHA-256" in card and "began as those of the checkpoint `one.pt`" in card
    assert "began with SAM2's" not in card
    stored = json.loads((tmp_path / "small" / "config.json").read_text())["config"]["model"]
    assert (stored["encoder_from"], stored["weights"]) == ("one.pt", "")
    for name in (path, tmp_path / "small"):
        given = Predictor.from_checkpoint(name, "cpu", weights=moved).predict(rgb=image, thermal=image).saliency
        assert np.array_equal(given, expected)
    moved.unlink()
    alone = Predictor.from_checkpoint(tmp_path / "whole", "cpu").predict(rgb=image, thermal=image).saliency
    assert np.array_equal(alone, expected)


def test_another_encoder_is_refused_by_resume_and_test(config: Config, stage_one: Path, tmp_path: Path) -> None:
    run(second(config, stage_one, 1))
    path = tmp_path / "two" / "checkpoints" / "step_00000001.pt"
    moved = stage_one.rename(tmp_path / "moved.pt")
    again = run(second(config, moved, 2))  # the same encoder elsewhere
    assert again.step == 2 and "resumed from" in (tmp_path / "two" / "log.txt").read_text()
    content = load_checkpoint(moved)
    content["model"]["encoder.trunk.pos_embed"] += 1
    torch.save(content, tmp_path / "other.pt")
    other = second(config, tmp_path / "other.pt", 3)
    for use in (lambda: run(other), lambda: load_model(other, load_checkpoint(path), str(path))):
        with pytest.raises(UserError, match=r"trained on \w+\.pt .* but model\.encoder_from is other\.pt"):
            use()
    assert "trained on one.pt" in refused(path, weights=tmp_path / "other.pt")
    bare = replace(other, model=replace(other.model, encoder_from=""))
    with pytest.raises(UserError, match=r"holds no encoder; set model\.encoder_from to one\.pt"):
        load_model(bare, load_checkpoint(path), str(path))


def test_an_encoder_that_is_trained_further_is_saved(config: Config, stage_one: Path, tmp_path: Path) -> None:
    trainer = run(second(config, stage_one, 1, frozen=False))
    before, after = load_checkpoint(stage_one)["model"], trainer.model.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith("encoder."))
    path = tmp_path / "two" / "checkpoints" / "step_00000001.pt"
    assert load_checkpoint(path)["base"] is None
    stage_one.unlink()
    Predictor.from_checkpoint(path, "cpu")
    assert "leave weights out" in refused(path, weights=path)
