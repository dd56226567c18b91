"""MMPareto (Wei and Hu, ICML 2024): equal weights while the losses' gradients agree, a Pareto direction when not."""

from __future__ import annotations

import torch
from torch import Tensor

from samsod.registry import RULES
from samsod.surgery.rules.mgda import min_norm_weights
from samsod.surgery.rules.rule import RuleContext, StatelessRule

STATIONARY = 1e-10
"""Squared length of the shortest gradient, as a part of the rows', below which it is the rounding of float32: it has no
direction that could be made longer."""


@RULES.register("mmpareto")
class MMPareto(StatelessRule):
    """The summed gradient while no two rows conflict; else the point of least norm, made as long as the sum.

    The authors' code makes every tensor as long as its own sum, and leaves out what the modalities share; here it is
    the group's merged gradient, whose direction then stays, and every group.

    Args:
        gamma: Factor of both, 1.5 in the paper.
        raised: Whether the point of least norm, times the number of rows, is raised to the sum's length.

    Raises:
        ValueError: `gamma` is not positive.
    """

    non_conflicting = True

    def __init__(self, gamma: float = 1.5, raised: bool = True) -> None:
        if not gamma > 0:
            raise ValueError(f"expected a positive gamma, found {gamma}")
        self.gamma, self.raised = gamma, raised

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of the rows, `[m]` float64."""
        del context
        equal = gram.new_ones(len(gram))
        pareto = len(gram) * min_norm_weights(gram)
        if self.raised:
            pareto = pareto * _raise(gram, pareto)
        return self.gamma * torch.where((gram < 0).any(), pareto, equal)


def _raise(gram: Tensor, weights: Tensor) -> Tensor:
    """The factor, 1 or more, that makes `weights @ rows` as long as the rows' sum; 1 where it has no direction."""
    length, wanted = weights @ gram @ weights, gram.sum()
    stationary = length <= STATIONARY * gram.trace()
    return torch.where(stationary, 1.0, (wanted / length).clamp_min(1.0).sqrt())
