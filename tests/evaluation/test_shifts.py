"""Tests with the images of the other modalities moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from samsod.config import Config
from samsod.config.schema import TestConfig
from samsod.data import transforms
from samsod.data.dataset import SceneDataset
from samsod.data.pair_images import read_pictures
from samsod.data.sources.catalog import PairSet, find_set
from samsod.evaluation.evaluator import evaluate, validate
from samsod.evaluation.shifts import shift_scores
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError


@pytest.fixture
def model(config: Config) -> Samsod:
    torch.manual_seed(0)
    model = Samsod(config.model).eval()
    for parameter in model.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_set(config: Config) -> PairSet:
    found = find_set(config.data.test[0], "", config.model.modalities)
    return replace(found, pairs=found.pairs[:3])


test_set.__test__ = False  # type: ignore[attr-defined]


def moved(config: Config, *shift: int) -> Config:
    return replace(config, test=replace(config.test, shift=list(shift)))


def test_move_is_by_whole_pixels_and_repeats_the_border() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert transforms.move(image, 1, 0)[0].tolist() == [0, 0, 1, 2]
    assert transforms.move(image, -2, 0)[1].tolist() == [6, 7, 7, 7]
    assert transforms.move(image, 0, 2)[:, 0].tolist() == [0, 0, 0]
    assert transforms.move(image, 0, -1)[:, 3].tolist() == [7, 11, 11]
    colours = np.dstack([image] * 3)
    assert np.array_equal(transforms.move(colours, 9, -9)[..., 1], np.full((3, 4), 8))
    assert np.array_equal(transforms.move(colours, 0, 0), colours)


def test_all_but_the_reference_are_moved_at_their_own_size(config: Config) -> None:
    pairs = test_set(config)
    still = SceneDataset(pairs, 32, config.data)[1]
    sample = SceneDataset(pairs, 32, config.data, [5, -3])[1]
    assert torch.equal(still["rgb"], sample["rgb"])
    pictures = read_pictures(pairs.pairs[1].images, config.data)
    thermal = transforms.move(pictures["thermal"], 5, -3)
    (expected,) = transforms.resize([thermal], 32)
    assert torch.equal(sample["thermal"], transforms.to_tensor(expected, False))
    seen = read_pictures(pairs.pairs[1].images, config.data, [5, -3])
    assert np.array_equal(seen["thermal"], thermal) and np.array_equal(seen["rgb"], pictures["rgb"])


def test_scores_are_the_means_over_four_directions(model: Samsod, config: Config) -> None:
    pairs = test_set(config)
    scores = shift_scores(model, [pairs], config, [0, 6])[pairs.name]
    assert list(scores) == ["final", "fusion", "rgb", "thermal"]
    shifts = ((6, 0), (-6, 0), (0, 6), (0, -6))
    results = [evaluate(model, pairs, moved(config, *shift))["final"].result()["S"] for shift in shifts]
    still = evaluate(model, pairs, config)["final"].result()["S"]
    assert scores["final"] == pytest.approx([still, np.mean(results)], abs=1e-12)
    assert scores["rgb"][0] == scores["rgb"][1] and len(set(results)) > 1
    assert scores["thermal"][0] != scores["thermal"][1]


def test_validation_moves_nothing_and_one_modality_cannot_be(model: Samsod, config: Config) -> None:
    pairs = test_set(config)
    assert validate(model, [pairs], moved(config, 20, 20)) == validate(model, [pairs], config)
    config.test.modalities = ["thermal"]
    with pytest.raises(UserError, match=r"^nothing to move: .* is tested with thermal alone$"):
        shift_scores(model, [pairs], config, [0])
    assert list(TestConfig(shift=[3]).check()) == [("shift", "expected [right, down], found [3]")]
