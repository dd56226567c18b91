"""Every rule, and a user's own, trains alike on one, two and four ranks, and resumes bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samsod.config import Config, RuleConfig
from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.registry import RULES
from samsod.surgery.hook import GradientHook
from samsod.surgery.rules.rule import RuleContext
from samsod.surgery.scores import soft_iou
from samsod.utils import distributed
from tests.ranks import run_ranks
from tests.surgery.rules.every_rule import EVERY, rule_of
from tests.training import apart, run, trained

STEPS = 6
TARGETS = {"fusion": 1.0, "rgb": -2.0, "thermal": 3.0}
"""Of the streams' logits where the truth is one: they are at odds."""


class Toy(nn.Module):
    """Three streams over two adapters and a decoder, their logits being maps of a pixel by two."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rgb, self.thermal, self.decoder = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        rgb, thermal = self.rgb(images).tanh(), self.thermal(images.flip(1)).tanh()
        streams = {"fusion": rgb + thermal, "rgb": rgb, "thermal": thermal}
        return {name: self.decoder(features).view(-1, 1, 1, 2) for name, features in streams.items()}

    def groups(self) -> ParameterGroups:
        losses = {"rgb": ("fusion", "rgb"), "thermal": ("fusion", "thermal"), "decoder": ("fusion", "rgb", "thermal")}
        modules = {"rgb": self.rgb, "thermal": self.thermal, "decoder": self.decoder}
        return ParameterGroups(
            ParameterGroup(name, list(module.parameters()), losses[name]) for name, module in modules.items()
        )


class Own:
    """A rule as a user may write it: with a memory, and looking at losses and scores."""

    score = staticmethod(soft_iou)

    def __init__(self) -> None:
        self.lengths: Tensor | None = None

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        lengths = gram.diagonal().sqrt()
        self.lengths = lengths if self.lengths is None else self.lengths.lerp(lengths, 0.5)
        losses = torch.stack([context.losses[name] for name in context.losses]).to(gram)
        scores = torch.stack([context.scores[name] for name in context.losses]).to(gram)
        return (1 + losses) * (1 - scores) / self.lengths

    def state_dict(self) -> dict[str, Any]:
        return {"lengths": self.lengths}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lengths = state["lengths"]


def trained_toys(names: list[str]) -> dict[str, Tensor]:
    """All parameters after some steps of gradient descent on this rank's share, in two micro-batches, by rule."""
    RULES.register("own")(Own)
    try:
        return {name: trained_toy(name) for name in [*names, "own"]}
    finally:
        RULES._entries.pop("own")


def trained_toy(name: str) -> Tensor:
    options = {"alpha": 2.0} if name == "ogm" else {}
    model = Toy()
    hook = GradientHook(model.groups(), RuleConfig(name, options), seed=1)
    generator = torch.Generator().manual_seed(2)
    for step in range(STEPS):
        images, truths = torch.randn(16, 4, generator=generator), torch.rand(16, 1, 1, 2, generator=generator).round()
        share = slice(distributed.rank(), None, distributed.world_size())
        hook.clear()
        seen: dict[str, Tensor] = {}
        for part, truth in zip(images[share].chunk(2), truths[share].chunk(2), strict=True):
            logits = model(part)
            losses = {name: (logit - TARGETS[name] * truth).square().mean() / 2 for name, logit in logits.items()}
            hook.add_scores(logits, {"ground_truth": truth}, 0.5)
            hook.accumulate(losses)
            seen = {name: seen.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        hook.merge(step, seen)
        with torch.no_grad():
            for parameter in hook.parameters:
                assert parameter.grad is not None
                parameter.sub_(0.02 * parameter.grad)
    return torch.cat([parameter.detach().flatten() for parameter in hook.parameters])


def available(name: str) -> bool:
    try:
        rule_of(name)
    except pytest.skip.Exception:
        return False
    return True


def test_ranks_train_as_one_process_does_by_every_rule() -> None:
    alone = trained_toys([name for name in EVERY if available(name)])
    for world in (2, 4):
        first, *others = run_ranks(trained_toys, world, [*alone][:-1])
        for name in alone:
            assert all(torch.equal(first[name], other[name]) for other in others), (world, name)
            assert apart(first[name], alone[name]) < 2e-5, (world, name)
    for name in alone:
        others = [alone[other] for other in alone if other != name]
        assert all(apart(other, alone[name]) > 1e-4 for other in others), name  # each is a rule of its own


def test_a_rule_with_a_memory_goes_on_bit_for_bit(config: Config, tmp_path: Path) -> None:
    rule_of("gradvac")
    config.data.holdout = 0.0
    config.engine.gradient_rule = RuleConfig("gradvac")
    config.train = replace(config.train, steps=3)
    whole = trained(config)
    cut = replace(config, output=str(tmp_path / "cut"))
    run(replace(cut, train=replace(cut.train, steps=2)))
    assert torch.equal(trained(cut), whole)


def test_the_score_of_micro_batches_is_the_whole_batchs(config: Config, tmp_path: Path) -> None:
    config.data.holdout = 0.0
    config.engine.gradient_rule = RuleConfig("ogm", {"alpha": 1.0})
    train = replace(config.train, steps=1)
    whole, parts = (
        run(replace(config, output=str(tmp_path / str(count)), train=replace(train, accumulate=count))).hook
        for count in (1, 2)
    )
    assert apart(parts.merged, whole.merged) < 1e-4
    by_sum = torch.cat([rows.sum(0) for rows in whole.rows.by_group])
    assert apart(by_sum, whole.merged) > 1e-2  # one of the modalities was held back
