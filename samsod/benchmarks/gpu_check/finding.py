"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from samsod.config import Config
from samsod.modeling.samsod import SaliencyModel
from samsod.utils.precision import set_tf32


@dataclass(frozen=True)
class Finding:
    """One line of the page: what was compared, what came out of it or why nothing did, and what it may be at most."""

    check: str
    result: Literal["passed", "failed", "skipped"]
    figure: str
    limit: str = ""


@dataclass(frozen=True)
class Subject:
    """What is checked, and where.

    Attributes:
        config: The run's config; nothing is read from its data sets.
        device: The device.
        folder: For files that nobody needs afterwards.
        ranks: How many ranks the device has room for; gloo's on a CPU.
        compiles: Whether the model is to be compiled too, which takes minutes.
    """

    config: Config
    device: torch.device
    folder: Path
    ranks: int
    compiles: bool = False

    def with_precision(self, precision: str) -> Config:
        """The config with another `engine.precision`."""
        return replace(self.config, engine=replace(self.config.engine, precision=precision))  # type: ignore[arg-type]


def smoothed(config: Config) -> Config:
    """The config with adapters that keep every channel, and so gradients that do not jump.

    TopK's gradient jumps where two activations nearly tie, as many do near zero, and other kernels round a few of them
    the other way: seen are 8e-4 of a merged gradient, with logits that differ by 8e-7.
    """
    adapter = replace(config.model.adapter, alpha_foreground=1.0, alpha_background=1.0)
    return replace(config, model=replace(config.model, adapter=adapter))


def compared(check: str, limit: float, differences: Iterable[float]) -> Finding:
    """Whether the largest difference is within the limit; one that is no number counts as infinite."""
    largest = max(value if value == value else float("inf") for value in differences)
    return Finding(check, "passed" if largest <= limit else "failed", f"{largest:.2g}", f"{limit:.2g}")


def apart(first: Tensor, second: Tensor) -> float:
    """How far a tensor is from another, as a share of that one's length; on the CPU, in float64."""
    first, second = first.detach().cpu().double(), second.detach().cpu().double()
    return float((first - second).norm() / second.norm())


def fill_adapters(model: SaliencyModel) -> None:
    """Draws the weights of adapters that are fresh and add nothing, so that what they compute is compared too."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if name.startswith("adapters."):
            std = 0.5 / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 0.1
            nn.init.normal_(parameter, std=std, generator=generator)


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 from now on, so that a GPU's products are a CPU's; and while the block runs convolutions that repeat."""
    set_tf32(False)  # whatever is measured later sets its own
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
