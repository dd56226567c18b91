"""The gradients of a step, one row per loss and group, and their average over the ranks.

Every loss's gradient is written as a row per group into one flat buffer; the buffer is averaged over the ranks in one
all-reduce, so the rows are those of the global batch. (DistributedDataParallel synchronises only the first of several
backward passes.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from samsod.modeling.parameter_groups import ParameterGroups
from samsod.utils import distributed

Add = Callable[[str, Mapping[Tensor, Tensor]], None]
"""Takes the gradients of a loss, by its name and the parameters; those of one parameter may come in several parts."""


class Differentiate(Protocol):
    """How gradients of losses are computed; `by_autograd` is the plain way."""

    def __call__(
        self, losses: Mapping[str, Tensor], wanted: Mapping[str, Iterable[Tensor]], add: Add, keep: bool = False
    ) -> None:
        """Hands on the gradients of each loss by the parameters it reaches.

        Args:
            losses: Scalars by name, all of one graph.
            wanted: By loss the parameters whose gradients are wanted, at least one.
            add: What takes them.
            keep: Whether the graph is needed once more.
        """


class GradientRows:
    """Rows of gradients in one flat buffer, with room for a few figures that travel along.

    Args:
        groups: The parameter groups.
        figures: How many figures travel with the rows.
        reduce_dtype: Type the rows travel in; bfloat16 halves the traffic and rounds every gradient to 8 bits.
        differentiate: How gradients are computed; None: by `by_autograd`.

    Attributes:
        by_group: Per group its rows, `[losses, parameters]` float32.
    """

    def __init__(
        self,
        groups: ParameterGroups,
        figures: int,
        reduce_dtype: torch.dtype = torch.float32,
        differentiate: Differentiate | None = None,
    ) -> None:
        self.groups, self.reduce_dtype, self.differentiate = groups, reduce_dtype, differentiate or by_autograd
        device = groups[0].parameters[0].device
        widths = [sum(p.numel() for p in group.parameters) for group in groups]
        counts = [len(group.losses) * width for group, width in zip(groups, widths, strict=True)]
        self._flat = torch.zeros(sum(counts) + figures, device=device)
        self._rows, self._figures = self._flat.split([sum(counts), figures])
        blocks = self._rows.split(counts)
        self.by_group = [block.view(len(g.losses), -1) for block, g in zip(blocks, groups, strict=True)]
        self._reached = {name: self._reached_by(name) for name in dict.fromkeys(n for g in groups for n in g.losses)}

    def clear(self) -> None:
        """Empties the rows for the next step."""
        self._rows.zero_()

    def accumulate(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradients of each loss to its rows.

        Args:
            losses: Scalars by name, each the mean over this rank's images, all of one graph.
        """
        self.differentiate(losses, {name: self._reached[name] for name in losses}, self._add)

    def _add(self, name: str, gradients: Mapping[Tensor, Tensor]) -> None:
        if gradients:
            # One call for all (documented by PyTorch, its underscore notwithstanding): a parameter at a time, a step of
            # the large model would launch 2,223 additions.
            views = self._reached[name]
            torch._foreach_add_([views[parameter] for parameter in gradients], list(gradients.values()))

    def average(self, figures: Tensor) -> Tensor:
        """Averages the rows over the ranks: one all-reduce, and a tiny one more when the rows travel shortened.

        Args:
            figures: What travels along, `[figures]` float32.

        Returns:
            The figures, averaged.
        """
        self._figures.copy_(figures)
        if self.reduce_dtype == self._flat.dtype or distributed.world_size() == 1:
            distributed.all_reduce_mean(self._flat)
        else:
            short = self._rows.to(self.reduce_dtype)
            distributed.all_reduce_mean(short)
            self._rows.copy_(short)
            distributed.all_reduce_mean(self._figures)
        return self._figures.clone()

    def _reached_by(self, name: str) -> dict[Tensor, Tensor]:
        """The parameters a loss reaches, and the parts of its rows that belong to them."""
        views: dict[Tensor, Tensor] = {}
        for group, rows in zip(self.groups, self.by_group, strict=True):
            if name in group.losses:
                parts = split_like(rows[group.losses.index(name)], group.parameters)
                views |= zip(group.parameters, parts, strict=True)
        return views


def by_autograd(
    losses: Mapping[str, Tensor], wanted: Mapping[str, Iterable[Tensor]], add: Add, keep: bool = False
) -> None:
    """The plain way to differentiate: one backward pass for each loss; see `Differentiate`."""
    for count, (name, loss) in enumerate(losses.items(), 1):
        add(name, gradients_of([loss], wanted[name], retain_graph=keep or count < len(losses)))


def gradients_of(
    outputs: Sequence[Tensor],
    inputs: Iterable[Tensor],
    cotangents: Sequence[Tensor] | None = None,
    retain_graph: bool = False,
) -> dict[Tensor, Tensor]:
    """The gradients of what is reached among `inputs`; see `torch.autograd.grad`."""
    inputs = list(inputs)
    found = torch.autograd.grad(outputs, inputs, cotangents, retain_graph=retain_graph, allow_unused=True)
    return {value: gradient for value, gradient in zip(inputs, found, strict=True) if gradient is not None}


def split_like(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Consecutive pieces of a flat tensor in the shapes of the parameters; they share its memory."""
    pieces = flat.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]
