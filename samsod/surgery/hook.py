"""Gradient surgery: one gradient per loss and parameter group, merged so that they do not fight (paper Eq. 9-17).

The hook knows parameters and losses, nothing of the model. Every loss's gradient is written as a row per group into
one flat buffer; the buffer is averaged over the ranks in one all-reduce, so the rows are those of the global batch;
then each group's rows are merged by a rule that needs only their Gram matrix. (Merging on every rank and averaging
after is another algorithm, and DistributedDataParallel synchronises only the first of several backward passes.)
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from samsod.modeling.parameter_groups import ParameterGroups
from samsod.utils import distributed

GRAM_CHUNK = 1 << 22
"""Columns of the rows that are held in float64 at a time."""


Rule = Callable[[Tensor, Sequence[Sequence[int]]], Tensor]
"""Weights of the rows `[m]` from their Gram matrix `[m,m]` (float64) and, per row, the order of the other rows."""


def pcgrad_weights(gram: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """PCGrad (Eq. 14-16) as weights of the original rows, without reading anything back to the host.

    A row starts as its own unit vector; for each other original row in order, if the dot product is negative, the
    projection is taken off. The result is the mean of the changed rows.

    Args:
        gram: Dot products of the rows, float64 `[m,m]`.
        orders: For each row the order in which the other rows are met.

    Returns:
        Weights `[m]`, float64: the merged gradient is `weights @ rows`.
    """
    rows = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for row, order in zip(rows, orders, strict=True):
        for other in order:
            dot = gram[other] @ row
            # A zero row has no direction: its dot products are zero, never negative.
            row[other] -= torch.where(dot < 0, dot / gram[other, other], 0.0)
    return rows.mean(0)


def sum_weights(gram: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """The plain sum of the rows, the gradient of Eq. 8: weights of one, `[m]` float64."""
    return torch.ones_like(gram[0])


RULES: dict[str, Rule] = {"pcgrad": pcgrad_weights, "sum": sum_weights}
"""The rules `engine.gradient_rule` can name."""


def gram_matrix(rows: Tensor) -> Tensor:
    """Dot products of the rows of `[m,n]` in float64, `[m,m]`."""
    gram = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for chunk in rows.split(GRAM_CHUNK, dim=1):
        wide = chunk.double()
        gram += wide @ wide.T
    return gram


def merge_rows(rows: Tensor, rule: Rule, orders: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """The merged gradient `[n]` of rows `[m,n]`, and their Gram matrix `[m,m]`; one row needs no surgery."""
    gram = gram_matrix(rows)
    if len(rows) == 1:
        return rows[0], gram
    return rule(gram, orders).to(rows.dtype) @ rows, gram


def random_orders(count: int, key: str) -> list[list[int]]:
    """For each row the others in an order drawn from `key` alone: the same on every rank and after a resume."""
    generator = random.Random(key)
    orders = []
    for row in range(count):
        others = [other for other in range(count) if other != row]
        generator.shuffle(others)
        orders.append(others)
    return orders


class GroupDiagnostics(NamedTuple):
    """Figures of one group: cosine of every pair of losses (Fig. 4), norm of each, norm of their sum."""

    cosines: dict[str, float]
    norms: dict[str, float]
    total_norm: float


@dataclass
class Diagnostics:
    """The Gram matrices of one step, left on the device until they are read.

    Args:
        grams: Per group the Gram matrix `[m,m]`, float64.
        losses: Per group the names of its rows.
        scale: The loss scale the rows still carry.
    """

    grams: dict[str, Tensor]
    losses: Mapping[str, tuple[str, ...]]
    scale: Tensor | float = 1.0

    def conflicts(self) -> dict[str, Tensor]:
        """Per group the share of conflicting pairs, left on the device; groups of a single row are left out."""
        shares = {}
        for name, gram in self.grams.items():
            count = len(gram)
            if count > 1:
                shares[name] = (gram < 0).sum() / (count * (count - 1))
        return shares

    def read(self) -> dict[str, GroupDiagnostics]:
        """Per group its figures; this waits for the device."""
        scale = float(self.scale)
        return {name: self._group(gram.cpu() / scale**2, self.losses[name]) for name, gram in self.grams.items()}

    @staticmethod
    def _group(gram: Tensor, losses: Sequence[str]) -> GroupDiagnostics:
        norms = gram.diagonal().clamp_min(0).sqrt()
        cosines = {}
        for i, j in itertools.combinations(range(len(losses)), 2):
            length = norms[i] * norms[j]
            cosines[f"{losses[i]}-{losses[j]}"] = float(gram[i, j] / length) if length != 0 else 0.0
        total = float(gram.sum().clamp_min(0).sqrt())
        return GroupDiagnostics(cosines, dict(zip(losses, norms.tolist(), strict=True)), total)


def gradient_ratio(diagnostics: Mapping[str, GroupDiagnostics]) -> float | None:
    """RGB to thermal ratio of the summed gradients' norms (Fig. 3); None without both groups."""
    if not {"rgb_adapter", "thermal_adapter"} <= diagnostics.keys():
        return None
    thermal = diagnostics["thermal_adapter"].total_norm
    return diagnostics["rgb_adapter"].total_norm / thermal if thermal > 0 else None


class GradientHook:
    """Turns the losses of a step into one merged gradient per parameter group.

    Args:
        groups: The parameter groups, together all that is trained.
        rule: Name of a rule in `RULES`.
        seed: The run's seed, shared by all ranks.
        signals: How many further figures travel with the rows, written to `signals`; `merge` averages them.
        reduce_dtype: Type the rows travel in; bfloat16 halves the traffic and rounds every gradient to 8 bits.
    """

    def __init__(
        self,
        groups: ParameterGroups,
        rule: str,
        seed: int,
        signals: int = 0,
        reduce_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.groups, self.rule, self.seed, self.reduce_dtype = groups, RULES[rule], seed, reduce_dtype
        self.parameters = [p for group in self.groups for p in group.parameters]
        sizes = [sum(p.numel() for p in group.parameters) for group in self.groups]
        device = self.parameters[0].device
        counts = [len(group.losses) * size for group, size in zip(self.groups, sizes, strict=True)]
        self._flat = torch.zeros(sum(counts) + signals, device=device)
        self.buffer, self.signals = self._flat.split([sum(counts), signals])
        blocks = self.buffer.split(counts)
        self.rows = [block.view(len(g.losses), -1) for block, g in zip(blocks, self.groups, strict=True)]
        self.merged = torch.zeros(sum(sizes), device=device)
        self._merged_by_group = self.merged.split(sizes)
        self._gradients = _views(self.merged, self.parameters)

    def backward(self, losses: Mapping[str, Tensor], step: int, scale: Tensor | float = 1.0) -> Diagnostics:
        """Fills `.grad` of every parameter with its group's merged gradient.

        Args:
            losses: Scalars by name, each the mean over this rank's images, all of one graph.
            step: Optimizer step; with seed and group it fixes the random order.
            scale: Loss scale the losses carry (fp16); the gradients carry it too until the optimizer unscales them.
        """
        self.clear()
        self.accumulate(losses)
        return self.merge(step, scale)

    def clear(self) -> None:
        """Empties the rows for the next step."""
        self.buffer.zero_()

    def accumulate(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradients of each loss to its rows."""
        for index, (name, loss) in enumerate(losses.items()):
            reached = [
                (g, rows[g.losses.index(name)])
                for g, rows in zip(self.groups, self.rows, strict=True)
                if name in g.losses
            ]
            parameters = [p for group, _ in reached for p in group.parameters]
            gradients = torch.autograd.grad(loss, parameters, retain_graph=index < len(losses) - 1, allow_unused=True)
            views = [view for group, row in reached for view in _views(row, group.parameters)]
            for view, gradient in zip(views, gradients, strict=True):
                if gradient is not None:
                    view += gradient

    def merge(self, step: int, scale: Tensor | float = 1.0) -> Diagnostics:
        """Averages the rows over the ranks, merges each group's and sets `.grad`."""
        self._average()
        grams = {}
        for group, rows, merged in zip(self.groups, self.rows, self._merged_by_group, strict=True):
            orders = random_orders(len(rows), f"{self.seed}/{step}/{group.name}")
            gradient, grams[group.name] = merge_rows(rows, self.rule, orders)
            merged.copy_(gradient)
        for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return Diagnostics(grams, {group.name: tuple(group.losses) for group in self.groups}, scale)

    def _average(self) -> None:
        """Averages rows and signals over the ranks: one all-reduce, and a tiny one when the rows travel shortened."""
        if self.reduce_dtype == self._flat.dtype or distributed.world_size() == 1:
            distributed.all_reduce_mean(self._flat)
            return
        short = self.buffer.to(self.reduce_dtype)
        distributed.all_reduce_mean(short)
        self.buffer.copy_(short)
        distributed.all_reduce_mean(self.signals)


def _views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Consecutive pieces of a flat tensor in the shapes of the parameters."""
    pieces = flat.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]
