"""`model.encoder_from`: what is taken over from a checkpoint, and what the messages say when it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.config import Config, ModelConfig, load_config
from samsod.config.schema import TrunkConfig
from samsod.engine.checkpoint import base_of, load_checkpoint, save_checkpoint
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from samsod.workflows import share

Stage = Callable[..., Path]


@pytest.fixture
def stage_one(model_config: ModelConfig, tmp_path: Path) -> Stage:
    """The checkpoint of a model of RGB images alone, every tensor of which is another than at its start."""

    def write(name: str = "one.pt", **settings: Any) -> Path:
        settings = {"modalities": ["rgb"], **settings}
        config = Config(model=replace(model_config, **settings))
        torch.manual_seed(5)
        model = Samsod(config.model)
        for tensor in model.state_dict().values():
            tensor.normal_(std=0.1)
        content = {"model": model.saved_state(), "base": base_of(model), "config": asdict(config), "step": 7}
        save_checkpoint(tmp_path / name, content)
        return tmp_path / name

    return write


def refused(config: ModelConfig) -> str:
    with pytest.raises(UserError) as caught:
        Samsod(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("adapter", ["none", "vanilla", "decoupled"])
def test_encoder_and_decoder_are_taken_over_and_adapters_are_new(
    model_config: ModelConfig, stage_one: Stage, adapter: str
) -> None:
    path = stage_one(adapter=replace(model_config.adapter, name=adapter))
    model = Samsod(replace(model_config, encoder_from=str(path), freeze_encoder=True))
    stored, state = load_checkpoint(path)["model"], model.state_dict()
    taken = [key for key in state if not key.startswith("adapters.")]
    assert {key.partition(".")[0] for key in taken} == {"encoder", "decoder"}
    assert all(torch.equal(state[key], stored[key]) for key in taken)
    # Their outputs are zero at the start, so every stream is what the encoder and the decoder alone make of its image.
    image = torch.randn(1, 3, 64, 64)
    streams = model({"rgb": image, "thermal": image}).streams
    assert torch.equal(streams["rgb"], streams["thermal"])
    left = len(stored) - len(taken)
    passed_over = f", {left} of its adapters are not used" if left else ""
    assert model.remarks == [
        f"loaded encoder and decoder from the checkpoint {path}: {len(taken)} tensors{passed_over}"
    ]
    assert [group.name for group in model.parameter_groups()] == ["rgb_adapter", "thermal_adapter", "decoder"]
    assert bool(left) is (adapter != "none")


def test_a_frozen_encoder_is_left_to_its_file_and_a_trained_one_is_saved(
    model_config: ModelConfig, stage_one: Stage
) -> None:
    path = stage_one()
    frozen = Samsod(replace(model_config, encoder_from=str(path), freeze_encoder=True))
    assert {key.partition(".")[0] for key in frozen.saved_state()} == {"adapters", "decoder"}
    base = base_of(frozen)
    assert base is not None and base["file"] == "one.pt" and len(base["sha256"]) == 64
    trained = Samsod(replace(model_config, encoder_from=str(path)))
    assert base_of(trained) is None and trained.saved_state().keys() == trained.state_dict().keys()
    assert "encoder" in [group.name for group in trained.parameter_groups()]


def test_a_model_without_adapters_trains_its_encoder_alone(model_config: ModelConfig) -> None:
    config = replace(model_config, modalities=["rgb"], adapter=replace(model_config.adapter, name="none"))
    model = Samsod(config)
    assert [group.name for group in model.parameter_groups()] == ["decoder", "encoder"]
    model({"rgb": torch.randn(2, 3, 64, 64)}).logits().mean().backward()
    assert all(parameter.grad is not None for group in model.parameter_groups() for parameter in group.parameters)


def test_an_encoder_of_another_shape_says_what_to_set(model_config: ModelConfig, stage_one: Stage) -> None:
    path = str(stage_one(trunk=TrunkConfig(embed_dim=48)))
    message = refused(replace(model_config, encoder_from=path))
    assert "do not fit the configured ones (set model.trunk.embed_dim=48, as in its training)" in message
    assert "of another shape (encoder.trunk." in message and "expected [" in message
    Samsod(replace(model_config, encoder_from=path, trunk=TrunkConfig(embed_dim=48)))
    wide = replace(model_config, encoder_from=path, trunk=TrunkConfig(embed_dim=48), decoder_width=64)
    assert "(set model.decoder_width=32, as in its training)" in refused(wide)


def test_missing_tensors_are_named(model_config: ModelConfig, stage_one: Stage) -> None:
    path = stage_one()
    content = load_checkpoint(path)
    del content["model"]["encoder.neck.convs.0.conv.bias"]
    save_checkpoint(path, {key: content[key] for key in ("model", "base", "config")})
    assert "1 missing (encoder.neck.convs.0.conv.bias)" in refused(replace(model_config, encoder_from=str(path)))


def test_a_checkpoint_without_an_encoder_says_where_it_is(
    model_config: ModelConfig, stage_one: Stage, tmp_path: Path
) -> None:
    one = stage_one()
    two = stage_one("two.pt", encoder_from=str(one), freeze_encoder=True)
    message = refused(replace(model_config, encoder_from=str(two)))
    assert "two.pt: holds no encoder, as it kept that of one.pt (SHA-256 " in message
    assert "set model.encoder_from to that file; or" in message and "--export DIR --with-encoder" in message


def test_a_folder_with_the_encoder_is_as_good_as_the_file(
    model_config: ModelConfig, stage_one: Stage, tmp_path: Path
) -> None:
    one = stage_one()
    share(str(one), tmp_path / "shared")
    file, folder = (
        Samsod(replace(model_config, encoder_from=str(tmp_path / name), freeze_encoder=True))
        for name in ("one.pt", "shared")
    )
    bases = base_of(file), base_of(folder)
    assert bases[0] and bases[1] and bases[0]["tensors"] == bases[1]["tensors"] and bases[1]["file"] == "shared"


def test_files_of_another_kind_are_sent_to_their_setting(
    model_config: ModelConfig, stage_one: Stage, tmp_path: Path
) -> None:
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, tmp_path / "sam2.pt")
    message = refused(replace(model_config, encoder_from=str(tmp_path / "sam2.pt")))
    assert "not a samsod checkpoint" in message and "SAM2's own files are for model.weights" in message
    one = stage_one()
    message = refused(replace(model_config, weights=str(one), decoder_width=256))
    assert "one.pt: is a checkpoint of samsod: set model.encoder_from to it, and leave model.weights out" in message
    assert "lost.pt: no such file" in refused(replace(model_config, encoder_from="lost.pt"))


def test_it_excludes_weights(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: {size: tiny, weights: sam2.1_hiera_tiny.pt, encoder_from: one.pt}\n")
    with pytest.raises(
        UserError, match=r"model\.encoder_from: not together with model\.weights.*leave one out"
    ) as caught:
        load_config(tmp_path / "c.yaml")
    assert len(caught.value.args) == 1
    assert load_config(tmp_path / "c.yaml", ["model.weights=", "model.encoder_from=~/a.pt"]).model.base == str(
        Path.home() / "a.pt"
    )
