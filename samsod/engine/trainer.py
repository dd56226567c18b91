"""The training loop: one step reads from top to bottom in `Trainer.train_step`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samsod.config import Config, to_yaml
from samsod.engine import checkpoint, distributed
from samsod.engine.gradient_surgery import Diagnostics, GradientHook, gradient_ratio
from samsod.engine.log import RunLog, duration, peak_memory_gib
from samsod.engine.precision import autocast
from samsod.errors import UserError
from samsod.files import write_text
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import SaliencyModel, build_model

Batch = Mapping[str, Tensor]
Evaluate = Callable[[SaliencyModel], dict[str, float]]


@dataclass
class Meter:
    """What is summed up between two log lines; losses stay on the device until they are read."""

    steps: int = 0
    waited: float = 0.0
    started: float = field(default_factory=time.monotonic)
    losses: dict[str, Tensor] = field(default_factory=dict)
    conflicts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, losses: Mapping[str, Tensor], diagnostics: Diagnostics, waited: float) -> None:
        """Adds one step's losses and conflicts, and the seconds it waited for data."""
        self.steps += 1
        self.waited += waited
        for sums, values in ((self.losses, losses), (self.conflicts, diagnostics.conflicts())):
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value.detach()

    def mean_losses(self) -> dict[str, float]:
        """Mean of each loss over steps and ranks; this waits for the device."""
        stacked = torch.stack(list(self.losses.values())) / self.steps
        distributed.all_reduce_mean(stacked)
        return dict(zip(self.losses, stacked.tolist(), strict=True))

    def mean_conflicts(self) -> dict[str, float]:
        """Per group the share of conflicting pairs over the steps; this waits for the device."""
        return {name: float(total) / self.steps for name, total in self.conflicts.items()}


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
        torch.manual_seed(config.seed)
        self.model = build_model(config.model).to(device).train()
        self.loss = build_loss(config.loss)
        groups = self.model.parameter_groups()
        groups.check_cover(self.model)
        self.base = checkpoint.base_of(self.model)
        self.gradient_hook = GradientHook(groups, config.engine.gradient_rule, config.seed)
        self.optimizer = self._build_optimizer()
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.engine.precision == "fp16")
        self.output = Path(config.output)
        self.checkpoints = self.output / "checkpoints"
        self._start()

    def train(self) -> None:
        """Runs from the current step to the last; logs, evaluates and saves on the way."""
        self.log.line(self._describe())
        try:
            self._run()
        except BaseException as error:
            self.log.note(f"stopped at step {self.step}: {type(error).__name__}: {error}")
            raise
        self.log.line(f"finished at step {self.step}; results are in {self.output}")

    def _run(self) -> None:
        meter, asked = Meter(), time.monotonic()
        for batch in self.batches(self.step):
            if self.step >= self.total_steps:
                break
            waited = time.monotonic() - asked
            losses, diagnostics = self.train_step(batch)
            self.step += 1
            meter.add(losses, diagnostics, waited)
            if self._due(self.config.train.log_every):
                self._log(meter, diagnostics)
                meter = Meter()
            paused = time.monotonic()
            best = self._after_epochs(self.config.train.eval_every) and self._evaluate()
            if best or self._after_epochs(self.config.train.checkpoint_every):
                self._save()
            asked = time.monotonic()
            meter.started += asked - paused
            if self.step >= self.total_steps:
                break

    def train_step(self, batch: Batch) -> tuple[dict[str, Tensor], Diagnostics]:
        """One optimizer step on this rank's part of the batch."""
        self._set_learning_rate()
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        with autocast(self.device, self.config.engine.precision):
            prediction = self.model(batch["rgb"], batch["thermal"])
        losses = {name: self.loss(logits, batch) for name, logits in prediction.streams().items()}
        scale = self.scaler.scale(torch.ones((), device=self.device))
        diagnostics = self.gradient_hook.backward({n: loss * scale for n, loss in losses.items()}, self.step, scale)
        self.scaler.unscale_(self.optimizer)
        self._check_finite(losses)
        if self.config.train.clip_norm:
            nn.utils.clip_grad_norm_(self.gradient_hook.parameters, self.config.train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # Detached, or the step's graph would live on through the next forward pass.
        return {name: loss.detach() for name, loss in losses.items()}, diagnostics

    def _check_finite(self, losses: Mapping[str, Tensor]) -> None:
        """Stops all ranks in the same step: the merged gradient, equal on all, shows a fault of any of them."""
        if bool(torch.isfinite(self.gradient_hook.merged.sum())):
            return
        local = [name for name, loss in losses.items() if not torch.isfinite(loss)]
        found = enumerate(distributed.gather_objects(local))
        where = [f"loss {name} on rank {rank}" for rank, names in found for name in names]
        if self.scaler.is_enabled() and not where:
            return  # a loss scale that was too high: the scaler skips the step and lowers it
        cause = ", ".join(where) or "a gradient, though every loss is finite"
        raise FloatingPointError(f"step {self.step + 1}: not finite: {cause}")

    def _build_optimizer(self) -> torch.optim.Optimizer:
        train = self.config.train
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
        groups = [{"params": group.parameters, "name": group.name} for group in self.gradient_hook.groups]
        return kind(groups, lr=train.lr, weight_decay=train.weight_decay)

    def _set_learning_rate(self) -> None:
        train = self.config.train
        factor = (1 - self.step / self.total_steps) ** 0.9 if train.schedule == "poly" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = train.lr * factor

    def _start(self) -> None:
        """Loads what the run starts from, and only then writes into the output folder."""
        source = self._resume_source()
        if source:
            self._load(source)
            start = f"resumed from {source} at step {self.step}"
        elif self.config.model.init_from:
            path = self.config.model.init_from
            checkpoint.load_model_state(self.model, checkpoint.load_checkpoint(path), path)
            start = f"started at step 0 with the weights of {path}"
        else:
            start = f"started at step 0 from {self.config.model.weights or 'random weights'}"
        self._check_agreement()
        if distributed.is_main():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_text(self.output / "config.yaml", to_yaml(self.config))
            if source and self.best_step == self.step and source.parent == self.checkpoints:
                checkpoint.mark_best(source, self.checkpoints / "best.pt")  # a kill may have come in between
        self.log = RunLog(self.output)
        self.log.forget_after(self.step)
        self.log.line(start)

    def _resume_source(self) -> Path | None:
        resume, found = self.config.train.resume, checkpoint.newest(self.checkpoints)
        if resume == "auto":
            return found
        if resume == "never":
            if found:
                raise UserError(f"{found}: the output folder holds a run already; choose another output")
            return None
        if found and Path(resume).name < found.name:
            raise UserError(f"{found}: the output folder holds a run that got further; choose another output")
        return Path(resume)

    def _load(self, path: Path) -> None:
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

    def _check_agreement(self) -> None:
        """All ranks must start from the same step, data and weights, or they would train apart in silence."""
        weights = sum(float(p.detach().double().sum()) for p in self.gradient_hook.parameters)
        mine = {"step": self.step, "last step": self.total_steps, "training set": self.data_id, "weights": weights}
        for rank, theirs in enumerate(distributed.gather_objects(mine)):
            differing = " and ".join(name for name in mine if mine[name] != theirs[name])
            if differing:
                raise UserError(f"rank {rank} starts with another {differing} than rank {distributed.rank()}")

    def _save(self) -> None:
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
            "images_per_second": rate,
            "data_wait": meter.waited / seconds,
            "peak_memory_gib": peak_memory_gib(self.device),
            "eta_seconds": eta,
        }
        self.log.row(row)
        self.log.line(_log_line(row, self.total_steps))

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.total_steps

    def _after_epochs(self, every: int) -> bool:
        return self.step == self.total_steps or (every > 0 and self.step % (every * self.steps_per_epoch) == 0)

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


def _log_line(row: Mapping[str, Any], total_steps: int) -> str:
    losses = " ".join(f"{name} {value:.3f}" for name, value in row["losses"].items())
    conflicts = " ".join(f"{name} {share:.0%}" for name, share in row["conflicts"].items())
    ratio = f"ratio {row['gradient_ratio']:.2f} | " if row["gradient_ratio"] is not None else ""
    return (
        f"step {row['step']}/{total_steps} epoch {row['epoch']:.2f} | loss {row['loss']:.3f} ({losses}) | "
        f"lr {row['lr']:.2e} | {'conflicts ' + conflicts + ' | ' if conflicts else ''}{ratio}"
        f"{row['images_per_second']:.3g} img/s data {row['data_wait']:.0%} mem {row['peak_memory_gib']:.1f} GiB | "
        f"eta {duration(row['eta_seconds'])}"
    )
