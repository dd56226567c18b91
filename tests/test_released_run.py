"""A training as configs/released.yaml has it, on a micro model: its last batch, its choice of the best epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samsod.config import Config, load_config
from samsod.data.sources.catalog import find_set
from samsod.evaluation.evaluator import evaluate, validate
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from samsod.utils.maps import FINAL
from samsod.workflows import make_trainer, train
from tests.conftest import RGBT, write_pairs
from tests.places import ROOT


@pytest.fixture
def released(tmp_path: Path) -> Config:
    """Seven pairs to train on in batches of four, five to choose on."""
    sets = {key: write_pairs(tmp_path / key, count, seed=1) for key, count in (("train", 7), ("val", 5))}
    lists = [f"data.{key}=[{{name: {key}, root: {root}}}]" for key, root in sets.items()]
    small = ["model.size=micro", "model.decoder_width=32", "model.image_size=64", "model.freeze_encoder=false"]
    run = ["train.epochs=2", "train.log_every=1", "data.workers=0", f"output={tmp_path / 'run'}", "engine.device=cpu"]
    return load_config(ROOT / "configs" / "released.yaml", [*lists, *small, *run])


def test_it_trains_on_the_last_batch_and_chooses_by_mae(released: Config) -> None:
    trainer = train(released, torch.device("cpu"))
    assert trainer.step == 4 and trainer.steps_per_epoch == 2
    rows = [json.loads(line) for line in (Path(released.output) / "metrics.jsonl").read_text().splitlines()]
    maes = {row["step"]: row["validation"]["MAE"] for row in rows if "validation" in row}
    assert set(maes) == {2, 4} and trainer.progress.best_step == min(maes, key=lambda step: maes[step])
    parts = [len(batch["index"]) for _, batch in zip(range(4), trainer.batches(0), strict=False)]
    assert parts == [4, 3, 4, 3]


def test_a_last_batch_that_cannot_be_cut_is_refused(released: Config) -> None:
    with pytest.raises(UserError, match=r"train\.accumulate is 2; it must divide each rank's 3 images"):
        make_trainer(replace(released, train=replace(released.train, accumulate=2)), torch.device("cpu"))


def test_the_epoch_is_chosen_one_image_at_a_time(released: Config) -> None:
    torch.manual_seed(0)
    model = Samsod(released.model).eval()
    for parameter in model.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    val = find_set(released.data.val[0], "", RGBT)
    batched = replace(released, test=replace(released.test, batch_size=5))
    alone, together = (evaluate(model, val, config)[FINAL].result()["MAE"] for config in (released, batched))
    assert validate(model, [val], released)["MAE"] == validate(model, [val], batched)["MAE"] == alone != together
