"""The optimizer and its learning rate."""

from __future__ import annotations

import torch

from samsod.config import TrainConfig
from samsod.modeling.parameter_groups import ParameterGroups


def build_optimizer(groups: ParameterGroups, train: TrainConfig) -> torch.optim.Optimizer:
    """The configured optimizer, with one group of its own for each parameter group."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    parameters = [{"params": group.parameters, "name": group.name} for group in groups]
    # Fused: the only kind that reads neither its step count nor the scaler's verdict back to the host.
    return kind(parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, train: TrainConfig, done: float) -> None:
    """Sets the rate for a step, `done` being the share of all steps taken before it."""
    factor = (1 - done) ** 0.9 if train.schedule == "poly" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = train.lr * factor
