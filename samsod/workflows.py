"""A whole training and a whole test: data, model, engine and evaluation put together, as the tools run them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.config import Config
from samsod.data.dataset import PairDataset
from samsod.data.loader import TrainBatches, train_loader
from samsod.data.selection import scored_sets, training_sets
from samsod.engine.checkpoint import load_checkpoint, load_model_state
from samsod.engine.log import RunLog
from samsod.engine.trainer import Trainer
from samsod.evaluation.evaluator import validate
from samsod.evaluation.testing import Results, run_test
from samsod.modeling.samsod import SaliencyModel, build_model
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import check_writable


def train(config: Config, device: torch.device) -> Trainer:
    """Trains the configured model on the configured data; see `Trainer`."""
    check_writable(config.output)
    if config.train.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError("train.tensorboard needs TensorBoard: pip install 'samsod[tensorboard]'")
    train_sets, val_sets, remarks = training_sets(config)
    dataset = PairDataset(train_sets, config.model.image_size, config.data, augment=True, seed=config.seed)
    if config.data.cache != "none":
        RunLog(None).line(dataset.use_cache())
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
    stems = " ".join(pair.stem for pair in dataset.pairs)
    data_id = hashlib.sha256(stems.encode()).hexdigest()
    trainer = Trainer(config, device, batches, steps_per_epoch, data_id, evaluate)
    for remark in remarks:
        trainer.log.line(remark)
    trainer.train()
    return trainer


def test(config: Config, device: torch.device, checkpoint: str, output: Path) -> dict[str, Results]:
    """Tests a checkpoint on the configured sets; see `run_test`.

    Raises:
        UserError: The checkpoint does not fit the configured model, or a set cannot be used.
    """
    check_writable(output)
    content = load_checkpoint(checkpoint)
    sets, remarks = scored_sets(config.data.test, config, "data.test")
    model = load_model(config, content, checkpoint)
    if remarks and distributed.is_main():
        output.mkdir(parents=True, exist_ok=True)
    for remark in remarks:
        RunLog(output).line(remark)
    return run_test(model.to(device), sets, config, output)


def load_model(config: Config, content: Mapping[str, Any], checkpoint: str) -> SaliencyModel:
    """The configured model with the weights of a checkpoint that was read.

    Raises:
        UserError: The checkpoint does not fit the configured model.
    """
    model = build_model(config.model)
    load_model_state(model, content, checkpoint)
    return model
