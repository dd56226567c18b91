"""A modality that is ahead is held back by the formula of the paper, and nobody else."""

from __future__ import annotations

import math

import pytest
import torch

from samsod.config import RuleConfig
from samsod.surgery.rules.ogm import OGM
from samsod.surgery.rules.rule import RuleContext, build_rule
from samsod.surgery.scores import soft_f_measure, soft_iou
from samsod.utils.errors import UserError

GRAM = torch.eye(2, dtype=torch.float64)


def weights_of(rule: OGM, own: str, scores: dict[str, float]) -> list[float]:
    losses = {"fusion": torch.tensor(1.0), own: torch.tensor(2.0)}
    told = {name: torch.tensor(score) for name, score in scores.items()}
    weights: list[float] = rule.weights(GRAM, RuleContext(0, f"{own}_adapter", losses, 0, told)).tolist()
    return weights


def test_the_modality_that_is_ahead_is_scaled_and_the_other_is_not() -> None:
    scores = {"fusion": 0.9, "rgb": 0.6, "thermal": 0.4}
    expected = 1 - math.tanh(0.3 * 0.6 / 0.4)
    assert weights_of(OGM(alpha=0.3), "rgb", scores) == pytest.approx([expected] * 2)
    assert weights_of(OGM(alpha=0.3), "thermal", scores) == [1, 1]
    assert weights_of(OGM(alpha=0.3), "rgb", {"fusion": 0.1, "rgb": 0.5, "thermal": 0.5}) == [1, 1]


def test_of_three_modalities_each_is_held_against_the_mean_of_the_others() -> None:
    scores = {"fusion": 0.9, "rgb": 0.6, "depth": 0.5, "thermal": 0.2}
    assert weights_of(OGM(), "rgb", scores) == pytest.approx([1 - math.tanh(0.1 * 0.6 / 0.35)] * 2)
    assert weights_of(OGM(), "depth", scores) == pytest.approx([1 - math.tanh(0.1 * 0.5 / 0.4)] * 2)
    assert weights_of(OGM(), "thermal", scores) == [1, 1]


def test_scores_of_zero_do_no_harm() -> None:
    assert weights_of(OGM(), "rgb", {"fusion": 0.0, "rgb": 0.0, "thermal": 0.0}) == [1, 1]
    assert weights_of(OGM(), "rgb", {"fusion": 0.0, "rgb": 1.0, "thermal": 0.0}) == [0, 0]
    assert weights_of(OGM(), "rgb", {"fusion": 0.5, "rgb": 0.5}) == [1, 1]


def test_a_group_of_several_modalities_gets_the_sum() -> None:
    names = ("fusion", "rgb", "thermal")
    scores = {name: torch.tensor(score) for name, score in zip(names, (0.1, 0.2, 0.3), strict=True)}
    context = RuleContext(0, "decoder", dict.fromkeys(names, torch.tensor(1.0)), 0, scores)
    assert OGM(alpha=9.0).weights(torch.eye(3).double(), context).tolist() == [1, 1, 1]


def test_its_score_is_what_the_option_says() -> None:
    assert OGM().score is soft_f_measure and OGM(score="iou").score is soft_iou


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1}, "ogm: expected an alpha of 0 or more, found -1"),
        ({"score": "dice"}, "ogm: expected a score of f_measure or iou, found 'dice'"),
    ],
)
def test_odd_options_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^engine.gradient_rule.options: {message}$"):
        build_rule(RuleConfig("ogm", options))
