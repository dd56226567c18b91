"""The plain sum of the losses in one backward pass, through the real model and its groups."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from samsod.config import LossConfig, ModelConfig, RuleConfig
from samsod.engine.passes import Passes
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import Samsod
from samsod.surgery.hook import GradientHook, check_reach


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"freeze_encoder": True, "modalities": ["rgb", "depth", "thermal"]},
        {"modalities": ["rgb"]},
        {"unimodal_supervision": False},
    ],
)
def test_one_pass_equals_the_sum_of_the_rows(model_config: ModelConfig, changes: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = Samsod(replace(model_config, **changes))  # type: ignore[arg-type]
    for parameter in model.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    batch = {name: torch.randn(2, 3, 64, 64) for name in model.modalities}
    batch["ground_truth"] = (torch.rand(2, 1, 64, 64) > 0.7).float()
    loss = build_loss(LossConfig())
    merged = []
    for diagnostics in (False, True):
        passes, rule = Passes(model, torch.device("cpu"), "fp32"), RuleConfig("sum", {"diagnostics": diagnostics})
        hook = GradientHook(model.parameter_groups(), rule, seed=0, differentiate=passes.differentiate)
        losses = {name: loss(logits, batch) for name, logits in passes.forward(batch).streams.items()}
        check_reach(hook.groups, losses, passes.differentiate)
        hook.accumulate(losses)
        hook.merge(0, {name: value.detach() for name, value in losses.items()})
        merged.append(hook.merged)
    assert ((merged[0] - merged[1]).norm() / merged[1].norm()).item() < 1e-6
