"""How many operators a training step launches, counted on the meta device, at batch 1.

Views are not counted. The meta device takes attention apart into a dozen operators where a GPU launches one, and ranks
channels as a GPU does.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
import torch

from samsod.benchmarks.counts import Operators
from samsod.config import LossConfig, ModelConfig, RuleConfig
from samsod.engine.passes import Passes
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import Samsod
from samsod.surgery.hook import GradientHook

VIEWS = (
    *("view", "_unsafe_view", "detach", "alias", "as_strided", "t", "transpose", "permute", "unsqueeze", "squeeze"),
    *("expand", "slice", "select", "split", "split_with_sizes", "unbind"),
)


def launches(size: Any, rule: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Operators by part of a step: forward, losses, gradients, merge."""
    linspace = torch.linspace  # sam2 reads its values while it builds
    monkeypatch.setattr(torch, "linspace", lambda *args: linspace(*args, device="cpu"))
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())  # it has none
    with torch.device("meta"):
        model = Samsod(ModelConfig(size=size)).train()
        batch = {name: torch.zeros(1, 3, 512, 512) for name in model.modalities}
        batch["ground_truth"] = torch.zeros(1, 1, 512, 512)
    loss, passes = build_loss(LossConfig()), Passes(model, torch.device("meta"), "fp32")
    hook = GradientHook(model.parameter_groups(), RuleConfig(rule), seed=0, differentiate=passes.differentiate)
    if rule == "sum":
        hook.accumulate({name: loss(logits, batch) for name, logits in passes.forward(batch).streams.items()})
    found: Counter[str] = Counter()

    @contextlib.contextmanager
    def part(name: str) -> Any:
        with Operators() as launched:
            yield
        found[name] = sum(count for operator, count in launched.names.items() if operator not in VIEWS)

    with part("forward"):
        streams = passes.forward(batch).streams
    with part("losses"):
        losses = {name: loss(logits, batch) for name, logits in streams.items()}
    with part("gradients"):
        hook.clear()
        hook.accumulate(losses)
    with part("merge"):
        hook.merge(0, {name: value.detach() for name, value in losses.items()})
    return found


@pytest.mark.parametrize(
    ("size", "rule", "most"),
    [
        ("tiny", "pcgrad", 3_400),
        pytest.param("tiny", "sum", 2_950, marks=pytest.mark.slow),
        pytest.param("large", "pcgrad", 8_370, marks=pytest.mark.slow),
        pytest.param("large", "sum", 6_350, marks=pytest.mark.slow),
    ],
)
def test_a_step_launches_no_more_than_it_did(monkeypatch: pytest.MonkeyPatch, size: str, rule: str, most: int) -> None:
    found = launches(size, rule, monkeypatch)
    print(f"\n{size}, {rule}: {found.total():,} operators: {dict(found)}")
    assert 0.9 * most < found.total() <= most
