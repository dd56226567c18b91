"""The plain network and step are what samsod computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from samsod.benchmarks.plain import PlainSamsod, PlainTraining, projected_mean
from samsod.benchmarks.step import random_batch, synthetic_trainer
from samsod.config import AdapterConfig, Config, ModelConfig, RuleConfig
from samsod.modeling.products import Linear
from samsod.modeling.samsod import SaliencyModel, build_model
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.pcgrad import pcgrad_weights
from samsod.utils.errors import UserError
from tests.training import apart

CPU = torch.device("cpu")


def filled(model: SaliencyModel) -> SaliencyModel:
    """The model with adapters that add something; fresh ones do not."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.adapters.parameters():  # type: ignore[union-attr]
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("decoupled", {}),
        ("decoupled", {"gate_scope": "batch", "gate_pooling": "tokens", "gate_gradient": "none"}),
        ("decoupled_moe", {}),
        ("vanilla", {}),
    ],
)
def test_the_plain_network_predicts_the_same(model_config: ModelConfig, name: str, changes: dict[str, str]) -> None:
    config = replace(model_config, adapter=AdapterConfig(name=name, **changes), dense_prompt=name != "vanilla")  # type: ignore[arg-type]
    model = filled(build_model(config)).eval()
    images = {name: torch.randn(2, 3, 64, 96) for name in model.modalities}
    with torch.no_grad():
        network = PlainSamsod(config, model.state_dict()).eval()
        ours, plain = model(images).streams, network(images)
    assert not any(isinstance(layer, Linear) for layer in network.modules())  # its products are PyTorch's
    assert list(ours) == list(plain)
    assert all(apart(plain[stream], ours[stream]) < 1e-5 for stream in ours)


@pytest.mark.parametrize(
    ("modalities", "supervised"), [(["rgb"], True), (["rgb", "thermal"], False), (["a", "b", "c"], True)]
)
def test_it_has_the_same_streams(model_config: ModelConfig, modalities: list[str], supervised: bool) -> None:
    config = replace(model_config, modalities=modalities, unimodal_supervision=supervised)
    model = build_model(config)
    images = {name: torch.randn(1, 3, 64, 64) for name in modalities}
    with torch.no_grad():
        ours, plain = model(images).streams, PlainSamsod(config, model.state_dict())(images)
    assert list(ours) == list(plain) and all(apart(plain[stream], ours[stream]) < 1e-5 for stream in ours)


class InTurns:
    """A loss that pulls the logits up, down and up again in turns, so that the streams' gradients conflict."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        self.calls += 1
        return (-1) ** self.calls * logits.mean()


@pytest.mark.parametrize("frozen", [True, False])
def test_the_plain_step_gives_the_same_merged_gradient(config: Config, frozen: bool) -> None:
    config.model.freeze_encoder = frozen
    config.train.batch_size = 2
    stepped = synthetic_trainer(config, CPU)
    filled(stepped.trainer.model)
    plain = PlainTraining(config, CPU, stepped.trainer.model.state_dict())
    plain.loss, stepped.trainer.loss = InTurns(), InTurns()
    plain.set_gradients(random_batch(config, CPU))
    stepped.step()
    grams = [gram_matrix(rows) for rows in stepped.trainer.hook.rows.by_group]
    assert sum(bool((gram < 0).any()) for gram in grams) > 1, "what does not conflict would not show PCGrad"
    flat = torch.cat([p.grad.flatten() for p in plain.parameters if p.grad is not None])
    assert apart(flat, stepped.trainer.hook.merged) < 1e-5


def test_projections_are_those_of_the_rule() -> None:
    rows = torch.randn(3, 10, generator=torch.Generator().manual_seed(3))
    orders = [[2, 1], [0, 2], [1, 0]]
    expected = pcgrad_weights(gram_matrix(rows), orders) @ rows.double()
    merged = projected_mean([list(row.split([4, 6])) for row in rows], orders)
    assert not torch.allclose(expected.float(), rows.mean(0)) and apart(torch.cat(merged), expected.float()) < 1e-6


def test_what_has_no_plain_form_is_refused(config: Config) -> None:
    other = replace(config, engine=replace(config.engine, gradient_rule=RuleConfig("sum")))
    with pytest.raises(UserError, match=r"engine\.gradient_rule\.name: .+ have pcgrad only, not sum"):
        PlainTraining(other, CPU)
    config.model.adapter.name = "mine"
    with pytest.raises(UserError, match=r"model\.adapter\.name: .+ have vanilla, decoupled, decoupled_moe only"):
        PlainTraining(config, CPU)
