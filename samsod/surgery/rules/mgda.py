"""MGDA (Désidéri 2012; Sener and Koltun, NeurIPS 2018): the shortest gradient in the convex hull of the losses'."""

from __future__ import annotations

import torch
from torch import Tensor

from samsod.registry import RULES
from samsod.surgery.rules.rule import RuleContext, StatelessRule


@RULES.register("mgda")
class MGDA(StatelessRule):
    """The point of least norm of the rows' convex hull, exactly; zero where no direction lowers every loss."""

    non_conflicting = True

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of the rows, `[m]` float64, none negative, of sum one."""
        del context
        return min_norm_weights(gram)


def min_norm_weights(gram: Tensor) -> Tensor:
    """Weights of the point of least norm in the convex hull of the rows, without reading anything back to the host.

    For two rows it is closed: the first row's weight is (G22 - G12) / (G11 + G22 - 2·G12), between 0 and 1. For more,
    the point is stationary for the rows of one of the 2^m - 1 subsets: where H = G / tr G + 1, which differs from G on
    the simplex by a constant and is regular for rows that are affinely independent, H_S w ∝ 1. Every subset gives a
    point of the hull, once what is negative is cut off; the shortest of them is the one.

    Args:
        gram: Dot products of the rows, float64 `[m,m]`.

    Returns:
        Weights `[m]`, float64, none negative, of sum one. (The point is unique; where rows depend on each other there
        may be other weights of it.)
    """
    count = len(gram)
    if count == 2:
        apart = gram[0, 0] + gram[1, 1] - 2 * gram[0, 1]
        first = torch.where(apart > 0, (gram[1, 1] - gram[0, 1]) / apart, 0.5).clamp(0, 1)
        return torch.stack([first, 1 - first])
    scaled = gram / gram.trace().clamp_min(torch.finfo(gram.dtype).tiny)
    chosen = _subsets(count, gram)
    identity = torch.eye(count, dtype=gram.dtype, device=gram.device)
    both = chosen.unsqueeze(1) * chosen.unsqueeze(2)
    solutions, _ = torch.linalg.solve_ex(torch.where(both > 0, scaled + 1, identity), chosen)
    candidates = torch.nan_to_num(solutions, posinf=0.0, neginf=0.0).clamp_min(0) * chosen
    sums = candidates.sum(1, keepdim=True)
    candidates = torch.where(sums > 0, candidates / sums, chosen / chosen.sum(1, keepdim=True))
    lengths = ((candidates @ scaled) * candidates).sum(1)
    return candidates.index_select(0, lengths.argmin().view(1))[0]


def _subsets(count: int, like: Tensor) -> Tensor:
    """All subsets of `count` rows that hold any, `[2^m - 1, m]` of ones and zeros, made on the device."""
    numbers = torch.arange(1, 2**count, device=like.device).unsqueeze(1)
    return (numbers.bitwise_right_shift(torch.arange(count, device=like.device)) & 1).to(like.dtype)
