"""`engine.compile`: parts of the model compiled by torch.compile, each for itself.

To autograd a compiled part is one operator, whose backward pass is always all of it. Compiled whole, the model would
run its whole backward pass for every loss; in parts a loss runs those it reaches, as it does without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch_config

from samsod.config import EngineConfig
from samsod.modeling.samsod import SaliencyModel
from samsod.utils.errors import UserError, shown

BACKEND = "inductor"
"""What torch.compile makes code with."""
OFF = "off"


class CompiledPart:
    """A method of a model, compiled for the sizes it meets, in training and without gradients apart.

    Each size is compiled for itself, which takes up to minutes. One that is smaller than a compiled one, as the last
    batch of an epoch is, is not worth that and runs in the plain form.

    Args:
        plain: The method; its first argument is images or maps, one tensor or several.

    Attributes:
        sizes: What was compiled: the shapes of the first tensor, by whether gradients were wanted.
    """

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain
        self.compiled: Callable[..., Any] = torch.compile(plain, dynamic=False, backend=BACKEND)
        self.sizes: dict[bool, set[torch.Size]] = {True: set(), False: set()}

    def __call__(self, values: Tensor | Sequence[Tensor], *rest: Any) -> Any:
        size = (values if isinstance(values, Tensor) else values[0]).shape
        known = self.sizes[torch.is_grad_enabled()]
        if size not in known and any(size.numel() < other.numel() for other in known):
            return self.plain(values, *rest)
        known.add(size)
        return self.compiled(values, *rest)


def compile_parts(model: SaliencyModel, engine: EngineConfig) -> SaliencyModel:
    """Has the model run compiled, if `engine.compile` says so; its weights and their names stay what they are.

    Args:
        model: The model, on its device; its parts are compiled when they first run.
        engine: The engine's settings.

    Returns:
        The model.

    Raises:
        UserError: This machine cannot compile, or the model does not say what of it can be compiled.
    """
    if engine.compile == OFF:
        return model
    check_compiler(engine, next(model.parameters()).device)
    if not model.compiled_apart:
        raise UserError(
            f"engine.compile is {engine.compile}, but the model {model.config.name} lists no methods in "
            "compiled_apart; set engine.compile=off"
        )
    # PyTorch asks for this where a graph is retained: memory that one loss's backward pass wrote over would not be
    # there for the next one's. Old versions lack it, and never write over.
    if hasattr(functorch_config, "donated_buffer"):
        functorch_config.donated_buffer = False
    for name in model.compiled_apart:
        setattr(model, name, CompiledPart(getattr(model, name)))
    return model


@contextmanager
def plain_form(model: SaliencyModel) -> Iterator[None]:
    """The model runs as if it had not been compiled while the block runs."""
    parts = {name: part for name, part in vars(model).items() if isinstance(part, CompiledPart)}
    for name in parts:
        delattr(model, name)  # and the class's own method is in sight again
    try:
        yield
    finally:
        for name, part in parts.items():
            setattr(model, name, part)


def check_compiler(engine: EngineConfig, device: torch.device) -> None:
    """Raises UserError when `engine.compile` is on and torch.compile fails here; it compiles a few operators to see."""
    if engine.compile != OFF and (fault := compile_fault(device)):
        needed = "a C++ compiler such as g++" + (" and Triton" if device.type == "cuda" else "")
        raise UserError(
            f"engine.compile is {engine.compile}, but torch.compile fails on this machine: {fault}; it needs {needed} "
            "and a version of Python that this PyTorch compiles for; or set engine.compile=off"
        )


@functools.cache
def compile_fault(device: torch.device) -> str:
    """What goes wrong when something is compiled for the device; empty when nothing does."""
    try:
        values = torch.ones(8, device=device)
        torch.compile(_probe, dynamic=False, backend=BACKEND)(values)
    except Exception as error:  # whatever it is, nothing can be compiled
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        return shown(f"{type(error).__name__}: {lines[0].strip()}"[:300])
    return ""


def _probe(values: Tensor) -> Tensor:
    return values.sin() * 2 + values
