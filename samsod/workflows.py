"""A whole training and a whole test: data, model, engine and evaluation put together, as the tools run them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from samsod.config import Config
from samsod.data.catalog import PairSet, find_set, hold_out
from samsod.data.dataset import PairDataset
from samsod.data.loader import TrainBatches, train_loader
from samsod.engine import distributed
from samsod.engine.checkpoint import load_checkpoint, load_model_state
from samsod.engine.trainer import Trainer
from samsod.errors import UserError
from samsod.evaluation.evaluator import validate
from samsod.evaluation.report import Results, run_test
from samsod.modeling.samsod import build_model


def training_sets(config: Config) -> tuple[list[PairSet], list[PairSet]]:
    """The sets to train on and those to validate on, found and checked.

    Raises:
        UserError: No training set, or one that cannot be used.
    """
    if not config.data.train:
        raise UserError("data.train: lists no data set")
    train = [find_set(item, config.data.root) for item in config.data.train]
    if config.data.val:
        return train, [find_set(item, config.data.root) for item in config.data.val]
    parts = [(pairs.name, *hold_out(pairs.triplets, config.data.holdout)) for pairs in train]
    kept = [PairSet(name, kept) for name, kept, _ in parts]
    return kept, [PairSet(name, held) for name, _, held in parts if held]


def train(config: Config, device: torch.device) -> Trainer:
    """Trains the configured model on the configured data; see `Trainer`."""
    train_sets, val_sets = training_sets(config)
    dataset = PairDataset(train_sets, config.model.image_size, config.data, config.data.augment.enabled, config.seed)
    rank, world_size = distributed.rank(), distributed.world_size()
    # Asked first, so that a batch that cannot be shared out is refused before anything is written.
    steps_per_epoch = TrainBatches(len(dataset), config.train.batch_size, rank, world_size, config.seed).steps_per_epoch

    def batches(start_step: int) -> Iterator[dict[str, Tensor]]:
        return train_loader(
            dataset, config.train.batch_size, rank, world_size, config.data.workers, config.seed, start_step
        )

    evaluate = (lambda model: validate(model, val_sets, config)) if val_sets else None
    trainer = Trainer(config, device, batches, steps_per_epoch, evaluate)
    trainer.train()
    return trainer


def test(config: Config, device: torch.device, checkpoint: str, output: Path) -> dict[str, Results]:
    """Tests a checkpoint on the configured sets; see `run_test`.

    Raises:
        UserError: The checkpoint does not fit the configured model, or a set cannot be used.
    """
    content = load_checkpoint(checkpoint)
    sets = [find_set(item, config.data.root) for item in config.data.test]
    model = build_model(config.model)
    load_model_state(model, content, checkpoint)
    return run_test(model.to(device), sets, config, output)
