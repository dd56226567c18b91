"""What of a run is saved, apart from the loop, and how it is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from samsod.config import Config
from samsod.engine import checkpoint
from samsod.engine.random_state import random_state, set_random_state
from samsod.engine.resume import check_settings, find_source, load_resumable
from samsod.modeling.samsod import SaliencyModel
from samsod.surgery.hook import GradientHook
from samsod.utils import distributed
from samsod.utils.errors import UserError


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    """optimizer steps taken"""
    best: float | None = None
    """best validation score, the higher the better"""
    best_step: int = 0
    """the step it belongs to"""
    evaluated_step: int = 0
    """the last step that was evaluated"""


@dataclass
class Saver:
    """Saves a run's parts together, and takes them up again.

    Args:
        config: The run's config.
        folder: Where its checkpoints lie.
        model: The model.
        optimizer: The optimizer.
        scaler: The loss scaler.
        hook: The gradient hook, whose rules may have a state.
        device: This rank's device.
        data_id: What identifies the training pairs.
        val_id: What identifies the validation pairs.
    """

    config: Config
    folder: Path
    model: SaliencyModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    hook: GradientHook
    device: torch.device
    data_id: str
    val_id: str
    progress: Progress = field(default_factory=Progress)
    _origin: str = ""
    _written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base = checkpoint.base_of(self.model)
        checkpoint.versions()  # looked up now: the environment may be another one by the time of the first save

    def start(self) -> list[str]:
        """Loads what the run starts from; what the log should say about it.

        Raises:
            UserError: It cannot be used, or would make it another run.
        """
        source = distributed.on_main(lambda: find_source(self.config.train.resume, self.folder))
        if source.path:
            return [*source.remarks, *self._resume(source.path, source.origin)]
        if path := self.config.model.init_from:
            checkpoint.load_model_state(self.model, checkpoint.load_checkpoint(path), path)
            return [f"started at step 0 with the weights of {path}"]
        model = self.config.model
        stays = "; the encoder is frozen and stays random: set model.weights" if model.freeze_encoder else ""
        return [f"started at step 0 from {model.base or f'random weights{stays}'}"]

    def save(self) -> None:
        """Writes a checkpoint, and removes the oldest of those that this run wrote."""
        if not distributed.is_main():
            return
        path = checkpoint.step_path(self.folder, self.progress.step)
        self._written = [name for name in self._written if name != path.name] + [path.name]
        checkpoint.save_checkpoint(path, self._content())
        if self.progress.best_step == self.progress.step:
            checkpoint.mark_best(path, self.folder / checkpoint.BEST)
        keep = self.config.train.keep
        for name in self._written[:-keep]:
            (self.folder / name).unlink(missing_ok=True)
        self._written = self._written[-keep:]

    def _content(self) -> dict[str, Any]:
        return {
            "model": checkpoint.model_state(self.model),
            "base": self.base,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rules": self.hook.state_dict(),
            "random": random_state(self.device),
            **asdict(self.progress),
            "data_id": self.data_id,
            "val_id": self.val_id,
            "world_size": distributed.world_size(),
            "config": asdict(self.config),
            "origin": self._origin,
            "written": self._written,
        }

    def _resume(self, path: Path, origin: str) -> list[str]:
        """Loads a checkpoint whole; what the log should say about it."""
        content = load_resumable(path, self.folder)
        check_settings(content, asdict(self.config), path)
        if content["data_id"] != self.data_id:
            raise UserError(f"{path}: was trained on other pairs than data.train finds now")
        checkpoint.load_model_state(self.model, content, path)
        self._load_states(content, path)
        before, now = content["world_size"], distributed.world_size()
        other = "" if before == now else f" ({now} ranks instead of {before}: sums round otherwise, bits may differ)"
        self.progress = Progress(step=content["step"])
        remarks = [f"resumed from {path} at step {self.progress.step}{other}"]
        self._origin = origin or content["origin"]
        if path.parent == self.folder:
            # A run that begins with a file of its folder did not write what lies there.
            self._written = [] if origin else list(map(str, content["written"]))
            remarks += self._take_best(content, path)
        return remarks

    def _load_states(self, content: Mapping[str, Any], path: Path) -> None:
        try:
            self.optimizer.load_state_dict(content["optimizer"])
            self.scaler.load_state_dict(content["scaler"])
            self.hook.load_state_dict(content["rules"])
            set_random_state(content["random"], self.device)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise UserError(f"{path}: cannot be gone on from: {type(error).__name__}: {error}") from None
        for parameter, state in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if not isinstance(state.get(name), torch.Tensor) or state[name].shape != parameter.shape:
                    raise UserError(f"{path}: cannot be gone on from: the optimizer's {name} do not fit the model")

    def _take_best(self, content: Mapping[str, Any], path: Path) -> list[str]:
        """Takes over the best score, if its checkpoint is there; what the log should say when it is not."""
        best, best_step = content["best"], content["best_step"]
        if best is not None and content["val_id"] != self.val_id:
            raise UserError(
                f"{path}: the best checkpoint so far was chosen on other pairs than data.val finds now; choose another "
                "output (model.init_from takes over the weights)"
            )
        if best is not None and best_step != self.progress.step:
            there = distributed.on_main(lambda: _step_of(self.folder / checkpoint.BEST))
            if there != best_step:
                return [f"{checkpoint.BEST} is not the one of step {best_step}: the best is chosen anew from here on"]
        self.progress = Progress(self.progress.step, best, best_step, content["evaluated_step"])
        if best is not None and best_step == self.progress.step and distributed.is_main():
            checkpoint.mark_best(path, self.folder / checkpoint.BEST)  # a kill may have come in between
        return []


def _step_of(path: Path) -> int | None:
    """The step of a checkpoint; None when it cannot be read."""
    try:
        step: int = checkpoint.load_checkpoint(path).get("step", -1)
    except UserError:
        return None
    return step
