"""PCGrad (paper Eq. 14-16): what conflicts between the losses' gradients is projected away."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from samsod.registry import RULES
from samsod.surgery.rules.rule import RuleContext, StatelessRule


@RULES.register("pcgrad")
class PCGrad(StatelessRule):
    """PCGrad in an order drawn anew for every step and group; with two rows there is only one."""

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of the rows, `[m]` float64."""
        orders = random_orders(len(gram), f"{context.seed}/{context.step}/{context.group}")
        return pcgrad_weights(gram, orders)


def pcgrad_weights(gram: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    """PCGrad as weights of the original rows, without reading anything back to the host.

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


def random_orders(count: int, key: str) -> list[list[int]]:
    """For each row the others in an order drawn from `key` alone: the same on every rank and after a resume."""
    generator = random.Random(key)
    orders = []
    for row in range(count):
        others = [other for other in range(count) if other != row]
        generator.shuffle(others)
        orders.append(others)
    return orders
