"""The training loop: one step reads from top to bottom in `Trainer.train_step`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from samsod.config import Config
from samsod.config.settings import settings, within
from samsod.engine.folder import RunFolder
from samsod.engine.log import RunLog
from samsod.engine.meter import Meter, log_line, validation_line
from samsod.engine.optimizer import build_optimizer, set_learning_rate
from samsod.engine.passes import build_passes
from samsod.engine.resume import PER_RANK
from samsod.engine.run_state import RunState
from samsod.engine.saving import Progress, Saver
from samsod.engine.signals import StopRequest
from samsod.engine.status import Status
from samsod.modeling.losses import Loss
from samsod.modeling.samsod import SaliencyModel
from samsod.modeling.shortened import shortened
from samsod.surgery.hook import GradientHook, MergedStep
from samsod.utils import distributed
from samsod.utils.weights import model_digest
from samsod.utils.weights_folder import weights_digest

Batch = Mapping[str, Tensor]
Evaluate = Callable[[SaliencyModel], dict[str, float]]
REDUCE_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Trainer:
    """Trains a model.

    Args:
        config: The run's config.
        device: This rank's device.
        model: The model, on the device.
        loss: The loss of every stream.
        batches: Endless batches of this rank, from a given optimizer step on; closed when the training ends.
        steps_per_epoch: Optimizer steps of one pass over the training set.
        data_id: What identifies the training pairs; it must be the same on all ranks and when resumed.
        evaluate: Scores the model on the validation sets; None without any.
        val_id: What identifies the validation pairs; likewise, once a best checkpoint is chosen.

    Attributes:
        model: The model, all of it in float32: what is saved, compared between ranks and optimized.

    Raises:
        UserError: The gradient rule cannot be built, the model cannot be run block by block, or the ranks do not start
            alike.
    """

    def __init__(
        self,
        config: Config,
        device: torch.device,
        model: SaliencyModel,
        loss: Loss,
        batches: Callable[[int], Generator[Batch, None, None]],
        steps_per_epoch: int,
        data_id: str,
        evaluate: Evaluate | None = None,
        val_id: str = "",
    ) -> None:
        self.config, self.device, self.model, self.loss = config, device, model.train(), loss
        self.batches, self.evaluate, self.steps_per_epoch = batches, evaluate, steps_per_epoch
        self.total_steps = config.train.steps or config.train.epochs * steps_per_epoch
        groups = model.parameter_groups()
        groups.check_cover(model)
        trained = [parameter for group in groups for parameter in group.parameters]
        self.stop = StopRequest()
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.engine.precision == "fp16")
        self.status = Status(trained, skips=self.scaler.is_enabled())
        reduce = REDUCE_TYPES[config.engine.reduce_dtype]
        self.passes = build_passes(config.engine, shortened(model, config.engine.precision, frozen_only=True), device)
        self.hook = GradientHook(
            groups, config.engine.gradient_rule, config.seed, self.status.size, reduce, self.passes.differentiate
        )
        self.optimizer = build_optimizer(groups, config.train)
        self.folder = RunFolder(config)
        self.saver = Saver(
            config, self.folder.checkpoints, model, self.optimizer, self.scaler, self.hook, device, data_id, val_id
        )
        self.log = RunLog(None)
        if distributed.world_size() > 1:
            distributed.check_agreement(self._start_conditions(data_id, val_id))

    @property
    def network(self) -> SaliencyModel:
        """What runs: the model's trained parameters, and in bf16 or fp16 its frozen weights cast once."""
        return self.passes.model

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self.progress.step

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.saver.progress

    def train(self, remarks: Sequence[str] = ()) -> None:
        """Runs from the newest checkpoint, or from the start, to the last step; logs, saves and evaluates on the way.

        Asked to stop by SIGTERM or Ctrl-C it saves after the step at hand and returns.

        Args:
            remarks: What the log should say at the start.

        Raises:
            UserError: The output folder or what the run starts from cannot be used, or a sample is bad.
            FloatingPointError: A loss or a gradient is not finite, or the loss scale has collapsed; on all ranks in
                the same step.
            RuntimeError: A rank's weights are no longer the others'.
        """
        with self.folder.held():
            started = self.saver.start()
            self.passes.model = shortened(self.model, self.config.engine.precision, frozen_only=True)
            if distributed.world_size() > 1:
                distributed.check_agreement({"step": self.step, "weights": model_digest(self.model)})
            self.folder.prepare()
            self.log = RunLog(self.folder.path, self.config.train.tensorboard, self.step)
            self.log.forget_after(self.step, self.progress.evaluated_step)
            for line in (*started, *remarks, self._describe()):
                self.log.line(line)
            self._write_state("training")
            try:
                with self.stop.listening(), contextlib.closing(self.batches(self.step)) as batches:
                    self._run(batches)
            except BaseException as error:
                with contextlib.suppress(OSError):  # a full disk, say, which must not hide the error itself
                    self.log.note(f"stopped at step {self.step}: {type(error).__name__}: {error}")
                    self._write_state("failed")
                raise
            finished = self.step >= self.total_steps
            self._write_state("finished" if finished else "stopped")
            how = "finished" if finished else "asked to stop, saved"
            self.log.line(f"{how} at step {self.step}; results are in {self.folder.path}")

    def _run(self, batches: Iterator[Batch]) -> None:
        if self.step and self._evaluation_due() and self.progress.evaluated_step < self.step:
            self._evaluate()  # the run was cut off between saving and the end of the evaluation
        meter, asked = Meter(), time.monotonic()
        while self.step < self.total_steps and not self.status.stopping:
            batch = next(batches)
            waited = time.monotonic() - asked
            merged = self.train_step(batch)
            self.status.check(lag=self.device.type != "cpu")
            meter.add(merged.losses, merged.diagnostics, waited)
            if self._due(self.config.train.log_every, self.step):
                self._log(meter, merged)
                meter = Meter()
            paused = time.monotonic()
            if self._save_due() or self._evaluation_due():
                self._save()
            if self._evaluation_due():
                self._evaluate()
            asked = time.monotonic()
            meter.started += asked - paused
        if self.status.stopping:
            self._save()

    def train_step(self, batch: Batch) -> MergedStep:
        """One optimizer step on this rank's part of the batch; nothing is read back to the host.

        Returns:
            The losses, means over all ranks, and what the gradients say about each other, all on the device.
        """
        train = self.config.train
        set_learning_rate(self.optimizer, train, self.step / self.total_steps)
        scale = self.scaler.scale(torch.ones((), device=self.device))
        own_losses: dict[str, Tensor] = {}
        self.hook.clear()
        for part in self._micro_batches(batch):
            prediction = self.passes.forward(part)
            losses = {name: self.loss(logits, part) / train.accumulate for name, logits in prediction.streams.items()}
            self.hook.add_scores(prediction.streams, part, 1 / train.accumulate)
            self.hook.accumulate({name: loss * scale for name, loss in losses.items()})
            # Detached, or the graph would live on through the next forward pass.
            own_losses = {name: own_losses.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        with_weights = self._due(train.log_every, self.step + 1)
        merged = self.hook.merge(self.step, own_losses, self.status.own(self.stop.asked, with_weights), scale)
        self.status.publish(self.step + 1, own_losses, merged, scale)
        # The merged gradient is the same on all ranks, so that they agree here on whether it is finite.
        self.scaler.unscale_(self.optimizer)
        if train.clip_norm:
            nn.utils.clip_grad_norm_(self.hook.parameters, train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.progress.step += 1
        return merged

    def _micro_batches(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """The batch on the device, cut into `train.accumulate` parts."""
        there = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        parts = zip(*(value.chunk(self.config.train.accumulate) for value in there.values()), strict=True)
        return (dict(zip(there, values, strict=True)) for values in parts)

    def _save(self) -> None:
        self.status.check()
        self.saver.save()

    def _evaluate(self) -> None:
        """Scores the model on the validation sets and saves what came of it; the step itself is saved before."""
        assert self.evaluate is not None
        self.status.check()
        self.network.eval()
        scores = self.evaluate(self.network)
        self.network.train()
        value = -scores["MAE"] if self.config.train.best_metric == "MAE" else scores[self.config.train.best_metric]
        improved = self.progress.best is None or value > self.progress.best
        if improved:
            self.progress.best, self.progress.best_step = value, self.step
        self.progress.evaluated_step = self.step
        self.log.line(validation_line(self.step, scores, improved))
        self.log.row({"step": self.step, "epoch": self._epoch(), "validation": scores})
        self.saver.save()

    def _log(self, meter: Meter, merged: MergedStep) -> None:
        self.status.check()
        if distributed.is_main():
            row = {"step": self.step, "epoch": self._epoch(), "lr": self.optimizer.param_groups[0]["lr"]}
            row |= meter.row(merged.diagnostics, self.model.modalities, self.scaler.get_scale())
            row |= meter.speed(self.config.train.batch_size, self.total_steps - self.step, self.device)
            self.log.row(row)
            self.log.line(log_line(row, self.total_steps))
            self._write_state("training")

    def _start_conditions(self, data_id: str, val_id: str) -> dict[str, object]:
        """What must be the same on all ranks."""
        shared = {key: value for key, value in settings(asdict(self.config)).items() if not within(key, PER_RANK)}
        base = self.config.model.base
        return {
            **shared,
            "last step": self.total_steps,
            "training set": data_id,
            "validation set": val_id,
            "the encoder's file": weights_digest(base) if base else "",
            "weights": model_digest(self.model),
        }

    def _due(self, every: int, step: int) -> bool:
        return step % every == 0 or step == self.total_steps

    def _after_epochs(self, every: int) -> bool:
        return self.step == self.total_steps or (every > 0 and self.step % (every * self.steps_per_epoch) == 0)

    def _evaluation_due(self) -> bool:
        return self.evaluate is not None and self._after_epochs(self.config.train.eval_every)

    def _save_due(self) -> bool:
        steps = self.config.train.checkpoint_steps
        return self._after_epochs(self.config.train.checkpoint_every) or (steps > 0 and self.step % steps == 0)

    def _epoch(self) -> float:
        return round(self.step / self.steps_per_epoch, 3)

    def _write_state(self, state: str) -> None:
        self.folder.write_state(RunState(state, self.step, self.total_steps))  # type: ignore[arg-type]

    def _precision(self) -> str:
        """The precision; on a GPU, where it means something, with what becomes of float32."""
        engine = self.config.engine
        return engine.precision + ("" if self.device.type == "cpu" else f" (TF32 {'on' if engine.tf32 else 'off'})")

    def _describe(self) -> str:
        groups = ", ".join(
            f"{g.name} {sum(p.numel() for p in g.parameters):,} <- {'+'.join(g.losses)}" for g in self.hook.groups
        )
        blocks = ", block by block" * (self.config.engine.checkpointing == "block")
        return (
            f"{self.total_steps} steps of {self.config.train.batch_size} images on {distributed.world_size()} x "
            f"{self.device.type}, {self._precision()}{blocks}, {self.config.engine.gradient_rule.name}; "
            f"trained: {groups}"
        )
