"""A whole training and a whole test: data, model, engine and evaluation put together, as the tools run them."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.config import Config
from samsod.data.dataset import PairDataset
from samsod.data.loader import TrainBatches, train_loader
from samsod.data.selection import scored_sets, training_sets
from samsod.data.sources.catalog import pairs_id
from samsod.drawing.run_files import read_results
from samsod.engine.checkpoint import load_checkpoint, load_model_state
from samsod.engine.compiling import OFF, check_compiler, compile_parts
from samsod.engine.log import RunLog
from samsod.engine.random_state import seed_all
from samsod.engine.sharing import portable
from samsod.engine.trainer import Trainer
from samsod.evaluation.evaluator import validate
from samsod.evaluation.inspection import describe
from samsod.evaluation.metrics.choice import chosen_metrics
from samsod.evaluation.metrics.saliency import Results
from samsod.evaluation.model_card import model_card
from samsod.evaluation.settings import check_settings
from samsod.evaluation.tables.reported import named_rows
from samsod.evaluation.testing import run_test
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import SaliencyModel, build_model
from samsod.prediction.predictor import Predictor
from samsod.registry import LOSSES
from samsod.surgery.rules.rule import build_rule
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import check_writable
from samsod.utils.weights_folder import check_free, write_weights_folder


def train(config: Config, device: torch.device) -> Trainer:
    """Trains the configured model on the configured data; see `Trainer.train`."""
    trainer, remarks = make_trainer(config, device)
    trainer.train(remarks)
    return trainer


def make_trainer(config: Config, device: torch.device) -> tuple[Trainer, list[str]]:
    """The trainer of a config, before its first step, and what its log should say; nothing is written yet.

    Raises:
        UserError: A setting, a data set or a file of weights cannot be used, or the ranks do not start alike.
    """
    check_writable(config.output)
    if config.train.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError("train.tensorboard needs TensorBoard: pip install 'samsod[tensorboard]'")
    build_rule(config.engine.gradient_rule)  # one that lacks a package is told before the data are read
    check_compiler(config.engine, device)  # likewise
    loss = build_loss(config.loss)
    train_sets, val_sets, remarks = training_sets(config)
    guide = getattr(LOSSES.get(config.loss.name), "needs_guide", False)
    dataset = PairDataset(train_sets, config.model.image_size, config.data, True, config.seed, guide)
    rank, world_size, on_gpu = distributed.rank(), distributed.world_size(), device.type == "cuda"
    # Asked first, so that a batch that cannot be shared out is refused before the model is built.
    train = config.train
    planned = TrainBatches(len(dataset), train.batch_size, rank, world_size, config.seed, drop_last=train.drop_last)
    for share in (train.batch_size // world_size, planned.last // world_size):
        if share % train.accumulate:
            raise UserError(f"train.accumulate is {train.accumulate}; it must divide each rank's {share} images")
    if config.data.cache != "none":
        remarks = [*remarks, dataset.use_cache()]

    def batches(start_step: int) -> Generator[dict[str, Tensor], None, None]:
        return train_loader(
            *(dataset, train.batch_size, rank, world_size, config.data.workers, config.seed, start_step, on_gpu),
            drop_last=train.drop_last,
        )

    evaluate = (lambda model: validate(model, val_sets, config)) if val_sets else None
    ids = pairs_id(train_sets), pairs_id(val_sets)
    seed_all(config.seed)
    model = compile_parts(build_model(config.model).to(device), config.engine)
    trainer = Trainer(config, device, model, loss, batches, planned.steps_per_epoch, ids[0], evaluate, ids[1])
    if config.engine.compile != OFF:
        remarks = [*remarks, f"engine.compile: {config.engine.compile}; the first step and evaluation wait for it"]
    return trainer, [*model.remarks, *remarks]


def test(
    config: Config,
    device: torch.device,
    checkpoint: str,
    output: Path,
    reported: Sequence[str] = (),
    allowed: Collection[str] = (),
) -> Results:
    """Tests a checkpoint on the configured sets and writes the results below `output`, which it holds meanwhile.

    Args:
        config: The run's config.
        device: Where the model runs.
        checkpoint: The checkpoint's file.
        output: Folder of the results; see `run_test`.
        reported: Rows of the paper that will be compared with, see `named_rows`; looked for before the work.
        allowed: Settings that may be others than in training; see `check_settings`.

    Returns:
        The results of `run_test`.

    Raises:
        UserError: The checkpoint does not fit the configured model or settings, a set cannot be used, the paper has no
            such row, no metric has such a name, or another process works in `output`.
    """
    check_writable(output)
    chosen_metrics(config.test.metrics, "test.metrics")
    check_compiler(config.engine, device)
    content = load_checkpoint(checkpoint)
    sets, remarks = scored_sets(config.data.test, config, "data.test", config.tested_modalities())
    named_rows(reported, [found.name for found in sets])
    model = load_model(config, content, checkpoint)
    remarks = [*model.remarks, *remarks, *check_settings(content, config, allowed, checkpoint)]
    if config.test.shift:
        remarks.append(f"note: test.shift moves all images but the reference's by {config.test.shift} pixels")
    with distributed.held(output):
        log = RunLog(output)
        for remark in remarks:
            log.line(remark)
        return run_test(compile_parts(model.to(device), config.engine), sets, config, output)


def load_model(config: Config, content: Mapping[str, Any], checkpoint: str) -> SaliencyModel:
    """The configured model with the weights of a checkpoint that was read.

    Raises:
        UserError: The checkpoint does not fit the configured model.
    """
    model = build_model(config.model)
    load_model_state(model, content, checkpoint)
    return model


def share(checkpoint: str, folder: Path, with_encoder: bool = False, weights: str = "", tested: str = "") -> None:
    """Writes a checkpoint in the Hugging Face Hub's form, whole or not at all; see `write_weights_folder`.

    Args:
        checkpoint: The checkpoint.
        folder: A new folder, or an empty one; the model is called as it is.
        with_encoder: Put in an encoder that the checkpoint does not hold, so that the folder stands alone.
        weights: Where the encoder's file lies, if not where it was in the training.
        tested: Folder of tools/test_net.py with the checkpoint's scores; empty: none are known.

    Raises:
        UserError: A file cannot be used or the folder not be written.
        OSError: A file cannot be written.
    """
    check_free(folder)
    results = read_results(Path(tested)) if tested else None
    content = portable(load_checkpoint(checkpoint), checkpoint)
    trained = content["config"]["model"]
    if with_encoder and content["base"]:
        model = Predictor.from_checkpoint(checkpoint, "cpu", weights=weights or None).model
        content |= {"model": model.state_dict(), "base": None, "included": content["base"]}
    description = describe(content, checkpoint)
    has_sam2 = bool(content.get("released") or trained["weights"])
    card = model_card(description, folder.resolve().name, has_sam2, results, trained["encoder_from"])
    write_weights_folder(folder, content, card)
