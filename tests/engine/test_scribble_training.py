"""Training on scribbles: the same loop and surgery, alike on any number of ranks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samsod.config import Config, LossConfig
from samsod.config.data_schema import DatasetConfig
from samsod.data.synthetic.scribbles import find_masks, make_scribbles
from tests.ranks import run_ranks
from tests.training import apart, run, trained


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
