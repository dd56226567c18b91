"""Parameter groups: what is trained, and which losses reach it. Models make them, the gradient hook merges in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


class ParameterGroup(NamedTuple):
    """Parameters whose gradients are merged together.

    Attributes:
        name: What logs call the group.
        parameters: Its parameters.
        losses: Names of the losses that reach it, in row order.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    losses: tuple[str, ...]


@dataclass(frozen=True)
class Cut:  # no tuple, in which PyTorch would look for outputs of a module
    """Where the graph of a prediction can be cut.

    Attributes:
        tensors: Tensors of the graph.
        parameters: Trained parameters that reach the losses through these tensors alone, and no others of a cut.
    """

    tensors: Sequence[Tensor]
    parameters: Sequence[nn.Parameter]


class ParameterGroups(tuple[ParameterGroup, ...]):
    """Disjoint groups, each with parameters and losses.

    Raises:
        ValueError: Two groups share a parameter, or one has no parameter or no loss.
    """

    def __new__(cls, groups: Iterable[ParameterGroup]) -> ParameterGroups:
        self = super().__new__(cls, groups)
        owner: dict[int, str] = {}
        for group in self:
            if not group.losses or not group.parameters:
                what = "losses" if group.parameters else "parameters"
                raise ValueError(f"parameter group {group.name!r} has no {what}")
            for parameter in group.parameters:
                if id(parameter) in owner:
                    raise ValueError(f"a parameter is in the groups {owner[id(parameter)]!r} and {group.name!r}")
                owner[id(parameter)] = group.name
        return self

    def check_cover(self, model: nn.Module) -> None:
        """Raises ValueError when a trainable parameter of the model is in no group."""
        grouped = {id(parameter) for group in self for parameter in group.parameters}
        left = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in grouped]
        if left:
            raise ValueError(f"{len(left)} trainable parameters are in no group, the first: {left[0]}")
