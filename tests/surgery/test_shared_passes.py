"""Backward passes that losses share behind a cut: the rows are those of one pass for each loss, and so is the work."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from samsod.benchmarks.counts import counted
from samsod.config import AdapterConfig, LossConfig, ModelConfig
from samsod.engine.passes import Passes
from samsod.modeling.losses import build_loss
from samsod.modeling.parameter_groups import Cut, ParameterGroup, ParameterGroups
from samsod.modeling.samsod import Samsod
from samsod.surgery.hook import check_reach
from samsod.surgery.rows import GradientRows
from samsod.surgery.shared_passes import by_cuts, together
from samsod.utils.errors import UserError
from tests.training import apart


def test_losses_share_a_pass_unless_they_reach_the_same() -> None:
    assert together({"fusion": {1, 2}, "a": {1}, "b": {2}}) == [["fusion"], ["a", "b"]]
    assert together({"a": {1}, "b": {2}, "fusion": {1, 2}}) == [["a", "b"], ["fusion"]]
    assert together({"a": {1}, "b": {1, 2}, "c": {2}, "d": {3}}) == [["a", "c", "d"], ["b"]]
    assert together({"a": {1}, "b": {1}}) == [["a"], ["b"]] and together({}) == []


def model_of(config: ModelConfig, adapter: str = "decoupled", modalities: tuple[str, ...] = ("rgb", "t")) -> Samsod:
    torch.manual_seed(0)
    adapters = AdapterConfig(adapter, beta=0.5)
    model = Samsod(replace(config, freeze_encoder=True, adapter=adapters, modalities=list(modalities)))
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def batch_of(model: Samsod) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = {name: torch.randn(2, 3, 64, 64, generator=generator) for name in model.modalities}
    return {**images, "ground_truth": (torch.rand(2, 1, 64, 64, generator=generator) > 0.7).float()}


def literal_rows(model: Samsod, batch: dict[str, Tensor]) -> list[Tensor]:
    """One modality after the other through the encoder, and a backward pass for each loss down to all it reaches."""
    features = {name: model.encode(batch[name], name) for name in model.modalities}
    features = {"fusion": [torch.stack(maps).sum(0) for maps in zip(*features.values(), strict=True)], **features}
    loss = build_loss(LossConfig())
    losses = {name: loss(model.decode(maps), batch) for name, maps in features.items()}
    groups, gradients = model.parameter_groups(), {}
    for name, value in losses.items():
        reached = [parameter for group in groups if name in group.losses for parameter in group.parameters]
        made = torch.autograd.grad(value, reached, retain_graph=True)
        gradients[name] = dict(zip(reached, made, strict=True))
    return [
        torch.stack([torch.cat([gradients[name][p].flatten() for p in group.parameters]) for name in group.losses])
        for group in groups
    ]


def step(model: Samsod, batch: dict[str, Tensor]) -> GradientRows:
    loss, passes = build_loss(LossConfig()), Passes(model, torch.device("cpu"), "fp32")
    rows = GradientRows(model.parameter_groups(), figures=0, differentiate=passes.differentiate)
    prediction = passes.forward(batch)
    assert [len(cut.tensors) for cut in prediction.cuts] == [4] * len(model.modalities)
    rows.accumulate({name: loss(logits, batch) for name, logits in prediction.streams.items()})
    return rows


@pytest.mark.parametrize(
    ("adapter", "modalities"),
    [
        ("decoupled", ("rgb", "t")),
        ("decoupled_moe", ("rgb", "t")),
        ("vanilla", ("rgb", "t")),
        ("decoupled", ("a", "b", "c")),
    ],
)
def test_rows_are_those_of_one_pass_for_each_loss(
    model_config: ModelConfig, adapter: str, modalities: tuple[str, ...]
) -> None:
    model = model_of(model_config, adapter, modalities)
    batch = batch_of(model)
    for ours, expected in zip(step(model, batch).by_group, literal_rows(model, batch), strict=True):
        for row, literal in zip(ours, expected, strict=True):
            assert apart(row, literal) < 1e-5


def test_it_is_the_same_arithmetic_in_fewer_operators(model_config: ModelConfig) -> None:
    model = model_of(model_config)
    batch = batch_of(model)
    shared, alone = counted(lambda: step(model, batch)), counted(lambda: literal_rows(model, batch))
    assert shared.macs == alone.macs
    assert shared.operators - shared.views < 0.8 * (alone.operators - alone.views)


@pytest.mark.parametrize("changes", [{"freeze_encoder": False}, {"modalities": ["rgb"]}])
def test_without_a_frozen_encoder_or_a_second_modality_nothing_is_shared(
    model_config: ModelConfig, changes: dict[str, object]
) -> None:
    model = Samsod(replace(model_config, **{"freeze_encoder": True, **changes}))  # type: ignore[arg-type]
    assert model(batch_of(model)).cuts == ()


def test_neither_is_without_gradients(model_config: ModelConfig) -> None:
    model = model_of(model_config)
    with torch.no_grad():
        assert model(batch_of(model)).cuts == ()


def test_a_loss_that_reaches_what_is_not_its_own_is_found_behind_a_cut_too(model_config: ModelConfig) -> None:
    model = model_of(model_config)
    passes = Passes(model, torch.device("cpu"), "fp32")
    streams = passes.forward(batch_of(model)).streams
    losses = {name: logits.mean() for name, logits in streams.items()}
    check_reach(model.parameter_groups(), losses, passes.differentiate)
    losses["rgb"] = losses["rgb"] + streams["t"].mean()
    with pytest.raises(UserError, match="the loss rgb reaches the parameter group t_adapter"):
        check_reach(model.parameter_groups(), losses, passes.differentiate)


def test_parts_of_a_cut_that_no_loss_reaches_are_passed_over() -> None:
    far, near, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False), nn.Linear(2, 2)
    groups = ParameterGroups(
        [ParameterGroup(n, list(m.parameters()), ("a", "b")) for n, m in (("f", far), ("n", near))]
    )
    x = torch.tensor([[1.0, 2.0]])
    made, unused = far(x), far(2 * x)
    cuts = [Cut([made, unused], list(far.parameters())), Cut([other(x)], list(other.parameters()))]
    losses = {"a": near(made).sum(), "b": near(3 * made + near.weight).sum()}
    rows = GradientRows(groups, figures=0, differentiate=functools.partial(by_cuts, cuts))
    rows.accumulate(losses)
    weight, column = near.weight.detach(), made.detach()
    once = (weight.T @ x).flatten()
    torch.testing.assert_close(rows.by_group[0], torch.stack([once, 3 * once]))
    torch.testing.assert_close(rows.by_group[1], torch.cat([column, 3 * column + 2 * weight]))
