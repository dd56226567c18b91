"""The metrics on tensors against those on arrays."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.evaluation.metrics.device import FAR, _rows, _squared_distance, score_batch
from samsod.evaluation.metrics.distance import squared_distance
from samsod.evaluation.metrics.saliency import ImageScores, score_image

CASES: dict[str, tuple[np.ndarray, np.ndarray]] = runpy.run_path(
    str(Path(__file__).with_name("make_golden_metrics.py"))
)["cases"]()
FIELDS = ("s", "mae", "wf", "adp_f", "adp_e", "f", "e", "precision", "recall")


def assert_equal(first: ImageScores, second: ImageScores, tolerance: float) -> None:
    for field in FIELDS:
        np.testing.assert_allclose(getattr(first, field), getattr(second, field), rtol=0, atol=tolerance, err_msg=field)


def batch_of(*pairs: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    predictions, truths = zip(*pairs, strict=True)
    return torch.from_numpy(np.stack(predictions)), torch.from_numpy(np.stack(truths) > 128)


@pytest.mark.parametrize("truth", sorted({name.split(" / ")[0] for name in CASES}))
def test_a_batch_scores_as_its_images_do(truth: str) -> None:
    """All-black and all-white truths, single pixels, constant maps and ties at the threshold among them."""
    pairs = [pair for name, pair in CASES.items() if name.startswith(f"{truth} / ")]
    for scores, pair in zip(score_batch(*batch_of(*pairs)), pairs, strict=True):
        assert_equal(scores, score_image(*pair), 1e-12)


def test_far_errors_weigh_the_same() -> None:
    random = np.random.RandomState(0)
    truth = np.zeros((40, 700), np.uint8)
    truth[30, 3] = truth[2, 5] = 255
    prediction = random.randint(0, 256, truth.shape).astype(np.uint8)
    assert_equal(score_batch(*batch_of((prediction, truth)))[0], score_image(prediction, truth), 1e-8)


def test_distances_are_exact_up_to_where_weights_change() -> None:
    truth = np.random.RandomState(1).rand(60, 400) < 0.0005
    truth[:, 200:] = False
    square, exact = _squared_distance(torch.from_numpy(truth)[None])[0].numpy(), squared_distance(truth)
    near = exact <= FAR**2
    assert near.any() and not near.all()
    np.testing.assert_array_equal(square[near], exact[near])
    assert (square[~near] > FAR**2).all()


def test_without_the_weighted_f_measure() -> None:
    (scores,) = score_batch(*batch_of(CASES["blob / soft"]), weighted_f=False)
    assert scores.wf is None
    assert scores.s == score_image(*CASES["blob / soft"]).s


@pytest.mark.parametrize("weighted_f", [True, False])
def test_nothing_waits_for_the_device(weighted_f: bool) -> None:
    """Meta tensors hold no values: whatever asked for one on the way would fail."""
    predictions = torch.empty(3, 20, 30, dtype=torch.uint8, device="meta")
    rows = _rows(predictions, torch.empty(3, 20, 30, dtype=torch.bool, device="meta"), weighted_f)
    assert rows.shape == (3, 2052 if weighted_f else 2050)


def test_inputs_are_left_as_they_were_and_may_be_views() -> None:
    predictions, truths = batch_of(CASES["noise / noise"], CASES["noise / close"])
    before = predictions.clone(), truths.clone()
    turned = score_batch(predictions.mT, truths.mT)
    assert torch.equal(predictions, before[0]) and torch.equal(truths, before[1])
    assert_equal(turned[1], score_image(predictions[1].numpy().T, truths[1].numpy().T), 1e-12)


def test_an_empty_batch_has_no_scores() -> None:
    assert score_batch(torch.zeros(0, 4, 5, dtype=torch.uint8), torch.zeros(0, 4, 5, dtype=torch.bool)) == []


@pytest.mark.parametrize(
    ("predictions", "truths", "message"),
    [
        (torch.zeros(2, 4, 5), torch.zeros(2, 4, 5, dtype=torch.bool), "predictions must be uint8"),
        (torch.zeros(4, 5, dtype=torch.uint8), torch.zeros(4, 5, dtype=torch.bool), r"got torch.uint8 of shape \(4, 5"),
        (torch.zeros(2, 4, 5, dtype=torch.uint8), torch.zeros(2, 4, 5), "truths must be bool"),
        (torch.zeros(2, 4, 5, dtype=torch.uint8), torch.zeros(2, 5, 4, dtype=torch.bool), "differ in shape"),
        (torch.zeros(2, 0, 5, dtype=torch.uint8), torch.zeros(2, 0, 5, dtype=torch.bool), "are empty"),
    ],
)
def test_what_cannot_be_scored_is_named(predictions: torch.Tensor, truths: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_batch(predictions, truths)
