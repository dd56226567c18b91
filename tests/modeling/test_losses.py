from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from samsod.config import LossConfig
from samsod.modeling import losses
from samsod.modeling.losses import border_weights, build_loss
from samsod.utils.errors import UserError


def literal(logits: torch.Tensor, truth: torch.Tensor, window: int = 31) -> float:
    """SPEC 2 with loops: zero padding counts in the average, as avg_pool2d's default has it."""
    height, width = truth.shape
    half, sums = window // 2, dict.fromkeys(("w", "bce", "pg", "p+g"), 0.0)
    for y in range(height):
        for x in range(width):
            inside = truth[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1].sum().item()
            g, p = truth[y, x].item(), 1 / (1 + math.exp(-logits[y, x].item()))
            w = 1 + 5 * abs(inside / window**2 - g)
            sums["w"] += w
            sums["bce"] += w * -(g * math.log(p) + (1 - g) * math.log(1 - p))
            sums["pg"] += w * p * g
            sums["p+g"] += w * (p + g)
    iou = (sums["pg"] + 1) / (sums["p+g"] - sums["pg"] + 1)
    return sums["bce"] / sums["w"] + 1 - iou


def test_equals_the_literal_loop_as_a_mean_over_images() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 1, 20, 24)
    truth = (torch.rand(3, 1, 20, 24) > 0.7).float()
    truth[2] = 0  # no object at all
    loss = build_loss(LossConfig())(logits, {"ground_truth": truth})
    expected = sum(literal(logits[i, 0], truth[i, 0]) for i in range(3)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("window", [1, 5, 31])
def test_border_weights_equal_the_square_average(window: int) -> None:
    torch.manual_seed(0)
    truth = (torch.rand(2, 1, 48, 40) > 0.7).float()
    square = torch.nn.functional.avg_pool2d(truth, window, stride=1, padding=window // 2)
    torch.testing.assert_close(border_weights(truth, window), 1 + 5 * (square - truth).abs(), rtol=1e-6, atol=1e-6)


def test_weights_are_made_once_for_all_streams_and_anew_for_another_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    made: list[Tensor] = []

    def counted(truth: Tensor, window: int) -> Tensor:
        made.append(truth)
        return border_weights(truth, window)

    monkeypatch.setattr(losses, "border_weights", counted)
    loss, logits = build_loss(LossConfig()), torch.randn(1, 1, 32, 32)
    truth = torch.zeros(1, 1, 32, 32)
    values = [loss(logits, {"ground_truth": truth}).item() for _ in range(3)]
    assert len(made) == 1 and values == values[:1] * 3
    truth[..., 8:20, 8:20] = 1  # the same tensor, changed in place
    changed = loss(logits, {"ground_truth": truth}).item()
    assert changed == build_loss(LossConfig())(logits, {"ground_truth": truth.clone()}).item() != values[0]
    for step in range(3):  # a new tensor may lie where one lay that is gone
        batch = {"ground_truth": torch.full((1, 1, 32, 32), step % 2, dtype=torch.float32)}
        assert loss(logits, batch).item() == build_loss(LossConfig())(logits, batch).item()
    with torch.inference_mode():
        batch = {"ground_truth": batch["ground_truth"] * 2}
        assert loss(logits, batch).item() == build_loss(LossConfig())(logits, batch).item()


def test_gradient_against_finite_differences() -> None:
    torch.manual_seed(0)
    truth = (torch.rand(2, 1, 6, 6) > 0.5).float()
    logits = torch.randn(2, 1, 6, 6, requires_grad=True)
    loss = build_loss(LossConfig())
    (gradient,) = torch.autograd.grad(loss(logits, {"ground_truth": truth}), logits)
    direction = torch.randn_like(logits)
    high, low = (loss(logits + sign * 1e-2 * direction, {"ground_truth": truth}) for sign in (1, -1))
    assert (gradient * direction).sum().item() == pytest.approx(((high - low) / 2e-2).item(), rel=1e-3)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_is_computed_in_float32_under_autocast(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    logits, truth = (torch.randn(1, 1, 64, 64) * 4).to(kind), (torch.rand(1, 1, 64, 64) > 0.5).float()
    loss = build_loss(LossConfig())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(logits, {"ground_truth": truth})
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, loss(logits.float(), {"ground_truth": truth}))


def test_a_perfect_prediction_costs_almost_nothing() -> None:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:20, 8:20] = 1
    loss = build_loss(LossConfig())
    assert loss((truth - 0.5) * 100, {"ground_truth": truth}).item() < 1e-6
    assert loss((0.5 - truth) * 100, {"ground_truth": truth}).item() > 10


@pytest.mark.parametrize("options", [{"window": 4}, {"windw": 3}])
def test_wrong_options_are_named(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"loss\.options"):
        build_loss(LossConfig(options=options))
