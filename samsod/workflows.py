"""A whole training and a whole test: data, model, engine and evaluation put together, as the tools run them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.config import Config
from samsod.data.catalog import PairSet, find_family, find_set, hold_out
from samsod.data.dataset import PairDataset
from samsod.data.loader import TrainBatches, train_loader
from samsod.data_config import DatasetConfig
from samsod.engine import distributed
from samsod.engine.checkpoint import load_checkpoint, load_model_state
from samsod.engine.log import RunLog
from samsod.engine.trainer import Trainer
from samsod.errors import UserError
from samsod.evaluation.evaluator import validate
from samsod.evaluation.report import Results, run_test
from samsod.files import check_writable
from samsod.modeling.samsod import SaliencyModel, build_model


def find_sets(items: Sequence[DatasetConfig], data_root: str) -> list[PairSet]:
    """The sets of a list in the config; says so when one holds more or fewer pairs than were published."""
    found = [find_set(item, data_root) for item in items]
    for item, pairs in zip(items, found, strict=True):
        published = find_family(item).splits[item.split]
        part = " ".join(filter(None, (pairs.name, item.split)))
        if published not in (None, len(pairs.triplets)) and not item.list_file:
            RunLog(None).line(f"note: {part} has {len(pairs.triplets)} pairs, {published} as published")
    return found


def training_sets(config: Config) -> tuple[list[PairSet], list[PairSet]]:
    """The sets to train on and those to validate on, found and checked.

    Raises:
        UserError: No training set, or one that cannot be used.
    """
    if not config.data.train:
        raise UserError("data.train: lists no data set")
    train = find_sets(config.data.train, config.data.root)
    if config.data.val:
        return train, find_sets(config.data.val, config.data.root)
    parts = [(pairs.name, *hold_out(pairs.triplets, config.data.holdout)) for pairs in train]
    kept = [PairSet(name, kept) for name, kept, _ in parts]
    return kept, [PairSet(name, held) for name, _, held in parts if held]


def train(config: Config, device: torch.device) -> Trainer:
    """Trains the configured model on the configured data; see `Trainer`."""
    check_writable(config.output)
    if config.train.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError("train.tensorboard needs TensorBoard: pip install 'samsod[tensorboard]'")
    train_sets, val_sets = training_sets(config)
    dataset = PairDataset(train_sets, config.model.image_size, config.data, augment=True, seed=config.seed)
    rank, world_size, on_gpu = distributed.rank(), distributed.world_size(), device.type == "cuda"
    # Asked first, so that a batch that cannot be shared out is refused before anything is written.
    steps_per_epoch = TrainBatches(len(dataset), config.train.batch_size, rank, world_size, config.seed).steps_per_epoch
    share = config.train.batch_size // world_size
    if share % config.train.accumulate:
        raise UserError(f"train.accumulate is {config.train.accumulate}; it must divide each rank's {share} images")

    def batches(start_step: int) -> Iterator[dict[str, Tensor]]:
        return train_loader(
            dataset, config.train.batch_size, rank, world_size, config.data.workers, config.seed, start_step, on_gpu
        )

    evaluate = (lambda model: validate(model, val_sets, config)) if val_sets else None
    stems = " ".join(triplet.stem for triplet in dataset.triplets)
    data_id = hashlib.sha256(stems.encode()).hexdigest()
    trainer = Trainer(config, device, batches, steps_per_epoch, data_id, evaluate)
    trainer.train()
    return trainer


def test(config: Config, device: torch.device, checkpoint: str, output: Path) -> dict[str, Results]:
    """Tests a checkpoint on the configured sets; see `run_test`.

    Raises:
        UserError: The checkpoint does not fit the configured model, or a set cannot be used.
    """
    check_writable(output)
    content = load_checkpoint(checkpoint)
    sets = find_sets(config.data.test, config.data.root)
    return run_test(load_model(config, content, checkpoint).to(device), sets, config, output)


def load_model(config: Config, content: Mapping[str, Any], checkpoint: str) -> SaliencyModel:
    """The configured model with the weights of a checkpoint that was read.

    Raises:
        UserError: The checkpoint does not fit the configured model.
    """
    model = build_model(config.model)
    load_model_state(model, content, checkpoint)
    return model
