"""A whole run in a test, and how far the weights of two runs are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from samsod.config import Config
from samsod.engine.launch import launch
from samsod.engine.trainer import Trainer
from samsod.workflows import train


def run(config: Config) -> Trainer:
    with launch(config) as device:
        return train(config, device)


def trained(config: Config) -> Tensor:
    """All parameters after the run, flat."""
    return torch.cat([p.detach().flatten() for p in run(config).hook.parameters])


def apart(first: Tensor, second: Tensor) -> float:
    return ((first - second).norm() / second.norm()).item()
