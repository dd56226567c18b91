"""Training on scribbles: the same loop and surgery, alike on any number of ranks, refused where it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from samsod.config import Config, LossConfig
from samsod.data.scribbles import find_masks, make_scribbles
from samsod.data_config import DatasetConfig
from samsod.data_sets import training_sets
from samsod.engine.launch import launch
from samsod.engine.trainer import Trainer
from samsod.errors import UserError
from samsod.workflows import test as run_test
from samsod.workflows import train
from tests.ranks import run_ranks


@pytest.fixture
def scribble_config(config: Config, pairs_folder: Path) -> Config:
    """Two steps of four pairs, most of them with scribbles, at a rate that does not blow rounding up."""
    make_scribbles(find_masks(pairs_folder / "GT"), pairs_folder, seed=0)
    strokes = DatasetConfig("scribbles", root=str(pairs_folder), ground_truth="foreground", name="strokes")
    (pairs_folder / "some.txt").write_text("000\n001\n002\n003\n")
    masks = replace(config.data.train[0], list_file="some.txt")
    config.data = replace(config.data, train=[strokes, masks], holdout=0)
    config.train = replace(config.train, steps=2, lr=1e-4)
    config.loss = LossConfig("scribble", {"coherence": 0.1})
    config.model.image_size = 32
    return config


def run(config: Config) -> Trainer:
    with launch(config) as device:
        return train(config, device)


def trained(config: Config) -> Tensor:
    """All parameters after the run, flat."""
    return torch.cat([p.detach().flatten() for p in run(config).gradient_hook.parameters])


def apart(first: Tensor, second: Tensor) -> float:
    return ((first - second).norm() / second.norm()).item()


def test_the_loop_learns_from_scribbles_under_surgery(scribble_config: Config) -> None:
    scribble_config.train = replace(scribble_config.train, steps=8, lr=2e-3)
    run(scribble_config)
    rows = [json.loads(line) for line in (Path(scribble_config.output) / "metrics.jsonl").read_text().splitlines()]
    assert sum(rows[-1]["losses"].values()) < 0.85 * sum(rows[0]["losses"].values())
    for row in rows:
        assert set(row["losses"]) == {"fusion", "rgb", "thermal"} and set(row["groups"]["decoder"]["cosines"])
        assert all(norm > 0 for group in row["groups"].values() for norm in group["norms"].values())


def test_ranks_and_micro_batches_change_nothing(scribble_config: Config, tmp_path: Path) -> None:
    alone = trained(scribble_config)
    parts = replace(scribble_config, output=str(tmp_path / "parts"))
    parts.train = replace(parts.train, accumulate=2)
    assert apart(trained(parts), alone) < 1e-5
    ranks = run_ranks(trained, 2, replace(scribble_config, output=str(tmp_path / "ranks")))
    assert torch.equal(*ranks) and apart(ranks[0], alone) < 1e-5


def test_nothing_is_held_out_of_a_set_with_scribbles(scribble_config: Config) -> None:
    scribble_config.data.holdout = 0.3
    (strokes, masks), held_out, _ = training_sets(scribble_config)
    assert len(strokes.triplets) == 12 and len(masks.triplets) < 4
    assert [pairs.name for pairs in held_out] == ["pairs"]


def test_a_loss_that_does_not_know_of_scribbles_is_refused(scribble_config: Config) -> None:
    scribble_config.loss = LossConfig()
    with pytest.raises(UserError, match=r"data\.train: strokes .*set loss\.name to scribble"):
        training_sets(scribble_config)


def test_scribbles_are_no_truth_to_score_by(scribble_config: Config, tmp_path: Path) -> None:
    strokes = scribble_config.data.train[0]
    scribble_config.data.val = [strokes]
    with pytest.raises(UserError, match=r"data\.val: strokes has scribbles"):
        training_sets(scribble_config)
    scribble_config.data = replace(scribble_config.data, val=[], test=[strokes])
    scribble_config.train.steps = 1
    trainer = run(scribble_config)
    with pytest.raises(UserError, match=r"data\.test: strokes has scribbles"):
        run_test(scribble_config, torch.device("cpu"), str(next(trainer.checkpoints.iterdir())), tmp_path / "test")
