"""The training loop: one step reads from top to bottom in `Trainer.train_step`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from samsod.config import Config, to_yaml
from samsod.engine import checkpoint
from samsod.engine.log import RunLog, peak_memory_gib
from samsod.engine.meter import Meter, log_line
from samsod.engine.status import HostCopy, StopRequest
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import SaliencyModel, build_model
from samsod.surgery.hook import Diagnostics, GradientHook, gradient_ratio
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import write_text
from samsod.utils.precision import autocast

Batch = Mapping[str, Tensor]
REDUCE_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Evaluate = Callable[[SaliencyModel], dict[str, float]]
FINISHED = "finished"
"""First word of the last line of the log, unless training was asked to stop."""


class Trainer:
    """Trains the configured model.

    Args:
        config: The run's config.
        device: This rank's device.
        batches: Endless batches of this rank, from a given optimizer step on.
        steps_per_epoch: Optimizer steps of one pass over the training set.
        data_id: What identifies the training set's contents; it must be the same on all ranks and when resumed.
        evaluate: Scores the model on the validation sets; None without any.

    Raises:
        UserError: The model's weights or the checkpoint to resume from do not fit, or the ranks do not agree.
    """

    def __init__(
        self,
        config: Config,
        device: torch.device,
        batches: Callable[[int], Iterable[Batch]],
        steps_per_epoch: int,
        data_id: str,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.config, self.device, self.batches, self.evaluate = config, device, batches, evaluate
        self.steps_per_epoch, self.data_id = steps_per_epoch, data_id
        self.total_steps = config.train.steps or config.train.epochs * steps_per_epoch
        self.step = 0
        self.best: float | None = None
        self.best_step = 0
        self.stop = StopRequest()
        self._stopping = False
        self._told: list[tuple[int, HostCopy, dict[str, Tensor]]] = []
        torch.manual_seed(config.seed)
        self.model = build_model(config.model).to(device).train()
        self.loss = build_loss(config.loss)
        groups = self.model.parameter_groups()
        groups.check_cover(self.model)
        self.base = checkpoint.base_of(self.model)
        names = {name for group in groups for name in group.losses}
        reduce = REDUCE_TYPES[config.engine.reduce_dtype]
        self.gradient_hook = GradientHook(groups, config.engine.gradient_rule, config.seed, len(names) + 1, reduce)
        self.optimizer = self._build_optimizer()
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.engine.precision == "fp16")
        self.output = Path(config.output)
        self.checkpoints = self.output / "checkpoints"
        self._start()

    def train(self) -> None:
        """Runs from the current step to the last; logs, evaluates and saves on the way.

        Asked to stop by SIGTERM it saves after the step at hand and returns.

        Raises:
            FloatingPointError: A loss or a gradient is not finite; all ranks raise in the same step.
        """
        self.log.line(self._describe())
        try:
            with self.stop.listening():
                self._run()
        except BaseException as error:
            self.log.note(f"stopped at step {self.step}: {type(error).__name__}: {error}")
            raise
        how = FINISHED if self.step >= self.total_steps else "asked to stop, saved"
        self.log.line(f"{how} at step {self.step}; results are in {self.output}")

    def _run(self) -> None:
        meter, asked = Meter(), time.monotonic()
        batches = iter(self.batches(self.step)) if self.step < self.total_steps else iter(())
        while self.step < self.total_steps and not self._stopping:
            batch = next(batches)
            waited = time.monotonic() - asked
            losses, diagnostics = self.train_step(batch)
            self.step += 1
            self._hear(lag=self.device.type == "cuda")
            meter.add(losses, diagnostics, waited)
            if self._due(self.config.train.log_every):
                self._log(meter, diagnostics)
                meter = Meter()
            paused = time.monotonic()
            best = self._after_epochs(self.config.train.eval_every) and self._evaluate()
            if best or self._save_due():
                self._save()
            asked = time.monotonic()
            meter.started += asked - paused
        if self._stopping:
            self._save()

    def train_step(self, batch: Batch) -> tuple[dict[str, Tensor], Diagnostics]:
        """One optimizer step on this rank's part of the batch; nothing is read back to the host.

        Returns:
            The losses, means over all ranks, and the gradients' diagnostics, all on the device.
        """
        self._set_learning_rate()
        scale = self.scaler.scale(torch.ones((), device=self.device))
        local = self._accumulate_gradients(batch, scale)
        self.gradient_hook.signals[:-1] = torch.stack(list(local.values()))
        self.gradient_hook.signals[-1] = float(self.stop.asked)
        diagnostics = self.gradient_hook.merge(self.step, scale)
        self._tell(local)
        self.scaler.unscale_(self.optimizer)
        if self.config.train.clip_norm:
            nn.utils.clip_grad_norm_(self.gradient_hook.parameters, self.config.train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return dict(zip(local, self.gradient_hook.signals.clone(), strict=False)), diagnostics

    def _accumulate_gradients(self, batch: Batch, scale: Tensor) -> dict[str, Tensor]:
        """Adds the gradients of every micro-batch to the rows; this rank's mean losses, detached."""
        count = self.config.train.accumulate
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        parts = zip(*(value.chunk(count) for value in batch.values()), strict=True)
        total: dict[str, Tensor] = {}
        self.gradient_hook.clear()
        for part in (dict(zip(batch, values, strict=True)) for values in parts):
            with autocast(self.device, self.config.engine.precision):
                prediction = self.model(part)
            losses = {name: self.loss(logits, part) / count for name, logits in prediction.streams.items()}
            self.gradient_hook.accumulate({name: loss * scale for name, loss in losses.items()})
            # Detached, or the graph would live on through the next forward pass.
            total = {name: total.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        return total

    def _tell(self, local: dict[str, Tensor]) -> None:
        """Sends the host what all ranks said in this step: losses, requests to stop, and whether all is finite."""
        finite = torch.isfinite(self.gradient_hook.merged.sum()).float().view(1)
        self._told.append((self.step + 1, HostCopy(torch.cat([self.gradient_hook.signals, finite])), local))

    def _hear(self, lag: bool = False) -> None:
        """Acts on what the ranks said, equal on all of them; with `lag` the newest step is left to its next one."""
        while len(self._told) > lag:
            step, sent, local = self._told.pop(0)
            *losses, stop, finite = sent.read()
            self._stopping = self._stopping or stop > 0
            # Under fp16 a gradient that overflows is the loss scale's fault: the scaler skips the step.
            if not all(map(math.isfinite, losses)) or not (finite or self.scaler.is_enabled()):
                self._raise_not_finite(step, local)

    def _raise_not_finite(self, step: int, local: Mapping[str, Tensor]) -> None:
        mine = [name for name, loss in local.items() if not torch.isfinite(loss)]
        found = enumerate(distributed.gather_objects(mine))
        where = [f"loss {name} on rank {rank}" for rank, names in found for name in names]
        cause = ", ".join(where) or "a gradient, though every loss is finite"
        raise FloatingPointError(f"step {step}: not finite: {cause}")

    def _build_optimizer(self) -> torch.optim.Optimizer:
        train = self.config.train
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
        groups = [{"params": group.parameters, "name": group.name} for group in self.gradient_hook.groups]
        # Fused: the only kind that reads neither its step count nor the scaler's verdict back to the host.
        return kind(groups, lr=train.lr, weight_decay=train.weight_decay, fused=True)

    def _set_learning_rate(self) -> None:
        train = self.config.train
        factor = (1 - self.step / self.total_steps) ** 0.9 if train.schedule == "poly" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = train.lr * factor

    def _start(self) -> None:
        """Loads what the run starts from, and only then writes into the output folder."""
        source = checkpoint.resume_source(self.config.train.resume, self.checkpoints)
        if source:
            remark = self._load(source)
            start = f"resumed from {source} at step {self.step}{remark}"
        elif self.config.model.init_from:
            path = self.config.model.init_from
            checkpoint.load_model_state(self.model, checkpoint.load_checkpoint(path), path)
            start = f"started at step 0 with the weights of {path}"
        else:
            start = f"started at step 0 from {self.config.model.weights or 'random weights'}"
        weights = sum(float(p.detach().double().sum()) for p in self.gradient_hook.parameters)
        distributed.check_agreement(
            {"step": self.step, "last step": self.total_steps, "training set": self.data_id, "weights": weights}
        )
        if distributed.is_main():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_text(self.output / "config.yaml", to_yaml(self.config))
            if source and self.best_step == self.step and source.parent == self.checkpoints:
                checkpoint.mark_best(source, self.checkpoints / "best.pt")  # a kill may have come in between
        self.log = RunLog(self.output, self.config.train.tensorboard)
        self.log.forget_after(self.step)
        self.log.line(start)

    def _load(self, path: Path) -> str:
        """Loads a checkpoint whole; what the log should say about it."""
        content = checkpoint.load_checkpoint(path)
        checkpoint.check_settings(content, asdict(self.config), path)
        if content["data_id"] != self.data_id:
            raise UserError(f"{path}: was trained on other pairs than data.train finds now")
        checkpoint.load_model_state(self.model, content, path)
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        self.step = content["step"]
        if path.parent == self.checkpoints:
            self.best, self.best_step = content["best"], content["best_step"]
        before, now = content["world_size"], distributed.world_size()
        return "" if before == now else f" ({now} ranks instead of {before}: sums round otherwise, bits may differ)"

    def _save(self) -> None:
        self._hear()
        if not distributed.is_main():
            return
        content = {
            "model": checkpoint.model_state(self.model),
            "base": self.base,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
            "data_id": self.data_id,
            "world_size": distributed.world_size(),
            "config": asdict(self.config),
        }
        path = checkpoint.step_path(self.checkpoints, self.step)
        checkpoint.save_checkpoint(path, content)
        if self.best_step == self.step:
            checkpoint.mark_best(path, self.checkpoints / "best.pt")
        checkpoint.keep_last(self.checkpoints, self.config.train.keep)

    def _evaluate(self) -> bool:
        """Scores the model on the validation sets; true when it is the best so far."""
        if self.evaluate is None:
            return False
        self._hear()
        self.model.eval()
        try:
            scores = self.evaluate(self.model)
        except BaseException:
            self._save()  # a validation image that cannot be read must not cost the epoch
            raise
        self.model.train()
        metric = self.config.train.best_metric
        value = -scores[metric] if metric == "MAE" else scores[metric]
        improved = self.best is None or value > self.best
        if improved:
            self.best, self.best_step = value, self.step
        figures = " ".join(f"{name} {scores[name]:.4f}" for name in ("S", "maxF", "maxE", "MAE"))
        mark = " (best so far)" if improved else ""
        self.log.line(f"step {self.step}: validation on {scores['images']} images: {figures}{mark}")
        self.log.row({"step": self.step, "epoch": self._epoch(), "validation": scores})
        return improved

    def _log(self, meter: Meter, diagnostics: Diagnostics) -> None:
        self._hear()
        losses, groups = meter.mean_losses(), diagnostics.read()
        if not distributed.is_main():
            return
        seconds = time.monotonic() - meter.started
        rate = meter.steps * self.config.train.batch_size / seconds
        eta = seconds / meter.steps * (self.total_steps - self.step)
        row = {
            "step": self.step,
            "epoch": self._epoch(),
            "lr": self.optimizer.param_groups[0]["lr"],
            "loss": sum(losses.values()),
            "losses": losses,
            "conflicts": meter.mean_conflicts(),
            "groups": {name: group._asdict() for name, group in groups.items()},
            "gradient_ratio": gradient_ratio(groups),
            "loss_scale": self.scaler.get_scale(),
            "images_per_second": rate,
            "data_wait": meter.waited / seconds,
            "peak_memory_gib": peak_memory_gib(self.device),
            "eta_seconds": eta,
        }
        self.log.row(row)
        self.log.line(log_line(row, self.total_steps))

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.total_steps

    def _after_epochs(self, every: int) -> bool:
        return self.step == self.total_steps or (every > 0 and self.step % (every * self.steps_per_epoch) == 0)

    def _save_due(self) -> bool:
        steps = self.config.train.checkpoint_steps
        return self._after_epochs(self.config.train.checkpoint_every) or (steps > 0 and self.step % steps == 0)

    def _epoch(self) -> float:
        return round(self.step / self.steps_per_epoch, 3)

    def _describe(self) -> str:
        groups = ", ".join(
            f"{g.name} {sum(p.numel() for p in g.parameters):,} <- {'+'.join(g.losses)}"
            for g in self.gradient_hook.groups
        )
        return (
            f"{self.total_steps} steps of {self.config.train.batch_size} images on {distributed.world_size()} x "
            f"{self.device.type}, {self.config.engine.precision}, {self.config.engine.gradient_rule}; trained: {groups}"
        )
