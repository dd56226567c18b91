"""Block by block a step has the gradients of the whole graph, at the price of running every block once more."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samsod.config import AdapterConfig, EngineConfig, LossConfig, ModelConfig, RuleConfig, TrunkConfig
from samsod.engine.passes import BlockPasses, Passes, build_passes
from samsod.engine.random_state import seed_all
from samsod.modeling.backbone import Beside, Size
from samsod.modeling.losses import build_loss
from samsod.modeling.parameter_groups import ParameterGroups
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.samsod import Prediction, SaliencyModel, Samsod
from samsod.surgery.hook import GradientHook, check_reach
from samsod.utils.errors import UserError
from samsod.utils.precision import autocast
from tests.modeling.test_backbone import vit_config
from tests.training import apart

CPU = torch.device("cpu")
PCGRAD = RuleConfig("pcgrad")


def filled(config: ModelConfig, **changes: Any) -> Samsod:
    """A model of four blocks whose adapters do something."""
    torch.manual_seed(0)
    trunk = TrunkConfig(stages=[1, 1, 1, 1], global_att_blocks=[2])
    model = Samsod(replace(config, **{"trunk": trunk, **changes})).train()
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def batch_of(model: SaliencyModel, count: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = {name: torch.randn(count, 3, 64, 64, generator=generator) for name in model.modalities}
    return {**images, "ground_truth": (torch.rand(count, 1, 64, 64, generator=generator) > 0.7).float()}


def step_of(passes: Passes, rule: RuleConfig = PCGRAD, parts: int = 1, scale: float = 1.0) -> GradientHook:
    """One step of all but the optimizer, from the same random state."""
    seed_all(3)
    loss, batch = build_loss(LossConfig()), batch_of(passes.model)
    groups = passes.model.parameter_groups()
    hook = GradientHook(groups, rule, seed=0, differentiate=passes.differentiate)
    own: dict[str, Tensor] = {}
    for index in range(parts):
        part = {name: values.chunk(parts)[index] for name, values in batch.items()}
        losses = {name: loss(logits, part) / parts for name, logits in passes.forward(part).streams.items()}
        hook.accumulate({name: value * scale for name, value in losses.items()})
        own = {name: value.detach() for name, value in losses.items()}
    hook.merge(0, own, scale=scale)
    return hook


class OneByOne(Passes):
    """One modality after the other, as block by block, and other than in one graph, which in half precision shows."""

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        with autocast(self.device, self.precision):
            prediction: Prediction = self.model(batch, run_encoder=lambda encoder, *given: encoder(*given))
        return prediction


def both(model: SaliencyModel, precision: str = "fp32", **how: Any) -> tuple[GradientHook, GradientHook]:
    """A step through one graph, and one block by block; both leave the same random state."""
    whole = step_of((Passes if precision == "fp32" else OneByOne)(model, CPU, precision), **how)
    drawn = random.random(), float(np.random.rand()), torch.rand(1).item()
    blocks = step_of(BlockPasses(model, CPU, precision), **how)
    assert drawn == (random.random(), float(np.random.rand()), torch.rand(1).item())
    return whole, blocks


def assert_same(whole: GradientHook, blocks: GradientHook, limit: float = 1e-5) -> None:
    for group, expected, found in zip(whole.rows.groups, whole.rows.by_group, blocks.rows.by_group, strict=True):
        for loss, row, other in zip(group.losses, expected, found, strict=True):
            assert row.norm() > 0, (group.name, loss)
            assert apart(other, row) < limit, (group.name, loss)
    assert apart(blocks.merged, whole.merged) < limit


MODELS_TRAINED: dict[str, dict[str, Any]] = {
    "two modalities": {},
    "frozen": {"freeze_encoder": True},
    "one modality": {"modalities": ["rgb"]},
    "three, frozen": {"freeze_encoder": True, "modalities": ["rgb", "depth", "thermal"]},
    "no unimodal supervision": {"unimodal_supervision": False},
    "gate over the batch": {"freeze_encoder": True, "adapter": AdapterConfig(gate_scope="batch")},
    "vanilla": {"freeze_encoder": True, "adapter": AdapterConfig("vanilla")},
    "no adapters": {"adapter": AdapterConfig("none")},
    "decoder alone": {"adapter": AdapterConfig("none"), "freeze_encoder": True},
}


@pytest.mark.parametrize("changes", MODELS_TRAINED.values(), ids=MODELS_TRAINED)
def test_gradients_are_those_of_the_whole_graph(model_config: ModelConfig, changes: dict[str, Any]) -> None:
    assert_same(*both(filled(model_config, **changes)))


@pytest.mark.parametrize(
    "how",
    [
        {"rule": RuleConfig("sum")},
        {"rule": RuleConfig("sum", {"diagnostics": True})},
        {"parts": 2},
        {"precision": "bf16"},
        {"precision": "fp16", "scale": 2.0**16},
    ],
    ids=str,
)
def test_so_they_are_under_other_engines(model_config: ModelConfig, how: dict[str, Any]) -> None:
    assert_same(*both(filled(model_config, freeze_encoder=True), **how))


def test_a_trained_encoder_in_half_precision_is_summed_in_float32(model_config: ModelConfig) -> None:
    """Autocast shortens a weight once for both modalities, whose gradients then add up in the shorter type."""
    model = filled(model_config)
    whole, blocks = both(model, "bf16")
    assert 1e-5 < apart(blocks.merged, whole.merged) < 2**-8
    torch.set_autocast_cache_enabled(False)
    try:
        assert_same(*both(model, "bf16"))
    finally:
        torch.set_autocast_cache_enabled(True)


def test_another_encoder_whose_embedding_is_trained(model_config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = Samsod(replace(vit_config(model_config), freeze_encoder=True)).train()
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.2)
    trained = {name for name, parameter in model.encoder.named_parameters() if parameter.requires_grad}
    assert trained == {"class_token", "up.weight", "up.bias"}
    assert_same(*both(model))


def test_a_block_that_draws_draws_the_same_again(model_config: ModelConfig) -> None:
    """From the generators of PyTorch, NumPy and Python; the whole graph draws once, and so leaves the same state."""
    model = filled(model_config)
    for block in model.encoder.get_submodule("trunk.blocks").children():
        block.drop_path = nn.Dropout(0.3)

    def scaled(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0] * (0.5 + random.random()) * (0.5 + np.random.rand())

    for adapter in model.adapters.modules():
        if hasattr(adapter, "kept_channels"):
            adapter.register_forward_pre_hook(scaled)
    assert_same(*both(model))
    assert apart(step_of(Passes(model, CPU, "fp32"), parts=2).merged, step_of(Passes(model, CPU, "fp32")).merged) > 0.1


def test_every_block_is_run_twice_whatever_the_number_of_losses(
    model_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = filled(model_config), Counter[int]()
    block = Sam2Encoder.block

    def counted(self: Sam2Encoder, index: int, *args: Any) -> Tensor:
        calls[index] += 1
        return block(self, index, *args)

    monkeypatch.setattr(Sam2Encoder, "block", counted)
    step_of(BlockPasses(model, CPU, "fp32"))
    assert calls == dict.fromkeys(range(4), 2 * len(model.modalities))
    calls.clear()
    frozen = filled(model_config, freeze_encoder=True, adapter=AdapterConfig("none"))
    step_of(BlockPasses(frozen, CPU, "fp32"))
    assert calls == dict.fromkeys(range(4), len(model.modalities)), "nothing is trained there"


class Held:
    """A tensor kept for the backward pass, counted while it is."""

    bytes_now = most = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # or what an operator keeps of its own result would keep the operator
        Held.bytes_now += tensor.nbytes
        Held.most = max(Held.most, Held.bytes_now)

    def __del__(self) -> None:
        Held.bytes_now -= self.tensor.nbytes


def most_held(kind: type[Passes], config: ModelConfig, blocks: int) -> int:
    """The most bytes that are kept for backward at a time, of a model with so many blocks in its third stage."""
    model = filled(config, trunk=TrunkConfig(stages=[1, 1, blocks, 1], global_att_blocks=[]))
    Held.bytes_now = Held.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        step_of(kind(model, CPU, "fp32"))
    assert Held.bytes_now == 0
    return Held.most


def test_what_is_kept_does_not_grow_with_the_blocks(model_config: ModelConfig) -> None:
    small, config = 2**16, replace(model_config, freeze_encoder=True)
    assert most_held(Passes, config, 12) > 1.5 * most_held(Passes, config, 3)
    assert abs(most_held(BlockPasses, config, 12) - (three := most_held(BlockPasses, config, 3))) < small < three / 10


def test_a_loss_outside_its_groups_is_found(model_config: ModelConfig) -> None:
    model = filled(model_config)
    passes = BlockPasses(model, CPU, "fp32")
    groups = ParameterGroups(
        group._replace(losses=("fusion", "thermal")) if group.name == "encoder" else group
        for group in model.parameter_groups()
    )
    loss, batch = build_loss(LossConfig()), batch_of(model)
    losses = {name: loss(logits, batch) for name, logits in passes.forward(batch).streams.items()}
    with pytest.raises(UserError, match=r"^the loss rgb reaches the parameter group encoder, which does not"):
        check_reach(groups, losses, passes.differentiate)


class InPlace(Sam2Encoder):
    def block(self, index: int, tokens: Tensor, beside: Beside, size: Size) -> Tensor:
        return super().block(index, tokens.mul_(2), beside, size)


class Counting(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def change_tokens(model: Samsod) -> None:
    model.encoder.__class__ = InPlace


def change_buffers(model: Samsod) -> None:
    model.encoder.get_submodule("trunk.blocks.1").norm2 = Counting(32)


def take_no_run(model: Samsod) -> None:
    def forward(images: Mapping[str, Tensor], given: Sequence[str] = ()) -> Prediction:
        return Samsod.forward(model, images, given)

    model.forward = forward  # type: ignore[assignment,method-assign]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (take_no_run, "the model samsod cannot be run block by block, since its forward does not take run_encoder"),
        (change_tokens, "runs every block twice, but block 0 of the encoder changes its tokens in place"),
        (
            change_buffers,
            "runs every block twice, but the encoder or what stands beside it changes the buffer "
            r"encoder\.trunk\.blocks\.1\.norm2\.num_batches_tracked",
        ),
    ],
)
def test_what_cannot_be_run_twice_is_refused(
    model_config: ModelConfig, spoil: Callable[[Samsod], None], fault: str
) -> None:
    model = filled(model_config, freeze_encoder=True)
    spoil(model)
    with pytest.raises(UserError, match=f"^engine.checkpointing=block:? {fault}; set engine.checkpointing=none$"):
        build_passes(EngineConfig(checkpointing="block"), model, CPU).forward(batch_of(model))
