from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samsod.surgery.scores import Score, soft_f_measure, soft_iou

BOTH = pytest.mark.parametrize("score", [soft_f_measure, soft_iou])


def batch_of(count: int) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(count, 1, 8, 8, generator=generator)
    return logits, {"ground_truth": (torch.rand(count, 1, 8, 8, generator=generator) > 0.6).float()}


def test_both_equal_a_literal_loop() -> None:
    logits, batch = batch_of(3)
    f_measures, ious = [], []
    for p, g in zip(logits.sigmoid().double(), batch["ground_truth"].double(), strict=True):
        precision, recall = (p * g).sum() / p.sum(), (p * g).sum() / g.sum()
        f_measures.append(1.3 * precision * recall / (0.3 * precision + recall))
        ious.append((p * g).sum() / (p + g - p * g).sum())
    assert float(soft_f_measure(logits, batch)) == pytest.approx(float(sum(f_measures) / 3))
    assert float(soft_iou(logits, batch)) == pytest.approx(float(sum(ious) / 3))


@BOTH
def test_perfect_is_one_and_no_object_zero(score: Score) -> None:
    _, batch = batch_of(2)
    assert float(score(100 * (batch["ground_truth"] - 0.5), batch)) == pytest.approx(1)
    empty = {"ground_truth": torch.zeros(2, 1, 8, 8)}
    assert score(torch.full((2, 1, 8, 8), -1000.0), empty) == 0
    assert score(torch.zeros(2, 1, 8, 8), empty) == 0


@BOTH
def test_parts_of_a_batch_average_to_the_whole(score: Score) -> None:
    logits, batch = batch_of(4)
    parts = [
        score(part, {"ground_truth": truth})
        for part, truth in zip(logits.chunk(2), batch["ground_truth"].chunk(2), strict=True)
    ]
    torch.testing.assert_close(sum(parts) / 2, score(logits, batch))


@BOTH
def test_only_labelled_pixels_count(score: Score) -> None:
    logits, batch = batch_of(2)
    labelled = torch.zeros(2, 1, 8, 8)
    labelled[..., :4] = 1
    left = score(logits[..., :4], {"ground_truth": batch["ground_truth"][..., :4]})
    torch.testing.assert_close(score(logits, {**batch, "labelled": labelled}), left)
    assert score(logits, {**batch, "labelled": torch.zeros(2, 1, 8, 8)}) == 0


@BOTH
def test_half_precision_is_scored_in_float32(score: Score) -> None:
    logits, batch = batch_of(2)
    assert score(logits.bfloat16(), batch).dtype == torch.float32
