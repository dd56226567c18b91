from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samsod.benchmarks.counts import Operators, counted
from samsod.config import Config, ModelConfig, TrunkConfig
from samsod.modeling.products import Linear
from samsod.modeling.samsod import Samsod
from samsod.modeling.shortened import shortened
from samsod.prediction.predictor import Predictor
from samsod.prediction.scene_predictor import Scene
from samsod.utils.precision import TYPES, autocast
from samsod.utils.weights import model_digest
from samsod.workflows import make_trainer
from tests.conftest import write_checkpoint
from tests.training import run

CPU = torch.device("cpu")


@pytest.fixture
def model_config(model_config: ModelConfig) -> ModelConfig:
    """Frozen, with a block for each stage."""
    trunk = TrunkConfig(stages=[1, 1, 1, 1], global_att_blocks=[2])
    return replace(model_config, freeze_encoder=True, trunk=trunk)


def model_of(config: ModelConfig, name: str = "decoupled") -> Samsod:
    """A model whose adapters do something."""
    torch.manual_seed(0)
    model = Samsod(replace(config, adapter=replace(config.adapter, name=name))).eval()
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def images_of(model: Samsod) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    side = model.config.image_size
    return {name: torch.rand(2, 3, side, side, generator=generator) for name in model.modalities}


def streams(model: Samsod, precision: str, given: list[str]) -> tuple[dict[str, Tensor], int]:
    """The streams, and how many tensors were cast on the way."""
    with torch.no_grad(), autocast(CPU, precision), Operators() as operators:
        found = model(images_of(model), given).streams
    return found, operators.names["_to_copy"]


@pytest.mark.parametrize(
    ("name", "precision"),
    [("decoupled", "bf16"), ("decoupled", "fp16"), ("decoupled_moe", "bf16"), ("vanilla", "bf16"), ("none", "bf16")],
)
def test_the_bits_are_autocasts(model_config: ModelConfig, name: str, precision: str) -> None:
    model = model_of(model_config, name=name)
    short = shortened(model, precision)
    frozen = shortened(model, precision, frozen_only=True)
    weights = [weight for weight in model.cast_weights() if not weight.requires_grad]
    for given in ([], ["thermal"]) if name == "decoupled" else ([],):
        expected, casts = streams(model, precision, given)
        for other in (short, frozen):
            found, fewer = streams(other, precision, given)
            assert list(found) == list(expected)
            assert all(torch.equal(found[stream], expected[stream]) for stream in expected)
            # The decoder's heads that nothing reads are never cast.
            assert fewer <= casts - 0.7 * len(weights)


def test_the_model_stays_as_it_is_and_shares_what_is_not_cast(model_config: ModelConfig) -> None:
    model = model_of(model_config)
    before = model_digest(model)
    short, frozen = shortened(model, "bf16"), shortened(model, "bf16", frozen_only=True)
    assert model_digest(model) == before and all(p.dtype == torch.float32 for p in model.parameters())
    cast = {id(weight) for weight in model.cast_weights()}
    for (name, own), (_, whole), (_, part) in zip(
        model.named_parameters(), short.named_parameters(), frozen.named_parameters(), strict=True
    ):
        assert (whole is own) == (id(own) not in cast), name
        assert (part is own) == (id(own) not in cast or own.requires_grad), name
        assert part.requires_grad == own.requires_grad
    assert all(one is other for one, other in zip(model.buffers(), short.buffers(), strict=True))
    kinds = {type(m) for m in short.modules() if any(p.dtype == torch.bfloat16 for p in m.parameters(recurse=False))}
    assert kinds == {nn.Linear, Linear, nn.Conv2d, nn.ConvTranspose2d}
    assert shortened(model, "fp32") is model and shortened(short, "bf16") is short


def test_an_encoder_that_does_not_say_so_keeps_its_weights(model_config: ModelConfig) -> None:
    model = model_of(model_config, name="none")
    model.encoder.casts_alike = model.decoder.casts_alike = False
    assert shortened(model, "bf16") is model


def test_training_runs_on_the_same_bits(config: Config, model_config: ModelConfig) -> None:
    """Frozen weights are cast before the run; what is trained comes out as with plain autocast."""
    config = replace(config, model=model_config, train=replace(config.train, batch_size=1))
    config.engine.precision = "bf16"
    found = []
    for plain in (True, False):
        trainer, _ = make_trainer(config, CPU)
        assert trainer.network is not trainer.model
        if plain:
            trainer.passes.model = trainer.model
        batch = next(iter(trainer.batches(0)))
        with Operators() as operators:
            trainer.train_step(batch)
        found.append((model_digest(trainer.model), operators.names["_to_copy"]))
    (digest, casts), (other, fewer) = found
    assert digest == other and fewer < casts - 50


def test_weights_that_a_run_starts_from_are_cast_anew(
    config: Config, model_config: ModelConfig, tmp_path: Path
) -> None:
    config = replace(config, model=model_config, train=replace(config.train, steps=1, batch_size=1))
    config.data.holdout = 0.0
    config.engine.precision = "bf16"
    config.seed = 5
    config.model.init_from = str(write_checkpoint(tmp_path / "other.pt", config))
    trainer = run(config)
    assert trainer.network is not trainer.model
    pairs = zip(trainer.model.parameters(), trainer.network.parameters(), strict=True)
    assert all(torch.equal(own.to(short.dtype), short) for own, short in pairs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_predictor_casts_once_and_keeps_the_model(config: Config, model_config: ModelConfig, precision: Any) -> None:
    model = model_of(model_config)
    with torch.inference_mode(), autocast(CPU, precision):
        expected = model(images_of(model)).logits()[:, 0].numpy()
    predictor = Predictor(model, replace(config, model=model_config), precision)
    assert predictor.model is model and {p.dtype for p in model.parameters()} == {torch.float32}
    kinds = {p.dtype for p in predictor._network.parameters()}
    assert kinds == {torch.float32, TYPES[precision]}
    batch = images_of(model)
    scenes = [Scene({name: images[row].numpy() for name, images in batch.items()}, (1, 1)) for row in range(2)]
    found = predictor.infer(scenes)
    assert all((maps["final"] == row).all() for maps, row in zip(found, expected, strict=True))


def test_one_modality_costs_less_than_half(model_config: ModelConfig) -> None:
    """One encoder pass of two, and one decoder pass of three."""
    model = model_of(model_config)
    images = images_of(model)
    with torch.inference_mode():
        both, one = (counted(functools.partial(model, images, given)) for given in ([], ["rgb"]))
        decoder = counted(lambda: model.decode(model.encode(images["rgb"], "rgb"))).macs
    assert one.macs == decoder and one.macs < both.macs / 2
