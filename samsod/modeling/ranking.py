"""TopK of every token's channels (paper Eq. 21), by ranks and without reading anything back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def keep_ranked(h: Tensor, rho: Tensor, largest: bool) -> Tensor:
    """Keeps the floor(ρ) largest (or smallest) channels of every token and zeroes the rest (TopK of Eq. 21).

    The backward pass takes the relaxed form, in which the channel that comes next in rank order enters with the
    fraction ρ - floor(ρ): the derivative by ρ is that channel's activation (straight-through). Equal activations rank
    by channel index. Nothing is read back to the host.

    Args:
        h: Activations `[B,...,C]`.
        rho: Real number of channels to keep, broadcastable to `h` with one channel.
        largest: Keep the largest, else the smallest.

    Returns:
        `h` with the other channels zeroed.
    """
    earlier = earlier_channels(h.shape[-1], h.device)
    return KeepRanked.apply(h, h.detach() if largest else -h.detach(), rho, earlier)


class KeepRanked(torch.autograd.Function):
    """Keeps the channels whose `key` is largest; see `keep_ranked`, and for `earlier` `ranks_by_comparison`."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, key: Tensor, rho: Tensor, earlier: Tensor) -> Tensor:
        # ONNX has no stable sort; a CPU sorts 32 channels five times as fast as it compares every two of them.
        sorts = h.device.type == "cpu" and not torch.compiler.is_compiling()
        rank = ranks_by_sorting(key, True) if sorts else ranks_by_comparison(key, True, earlier)
        count = rho.floor()
        kept = rank < count
        if any(ctx.needs_input_grad):
            # Wide: under fp16 the product of a scaled gradient and an activation overflows.
            following = ((rank == count) * h).to(rho.dtype) if ctx.needs_input_grad[2] else None
            ctx.save_for_backward(kept, following)
            ctx.rho_shape = rho.shape
        return h * kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        kept, following = ctx.saved_tensors
        grad_h = grad * kept if ctx.needs_input_grad[0] else None
        grad_rho = None if following is None else (grad * following).sum_to_size(ctx.rho_shape)
        return grad_h, None, grad_rho, None


def ranks_by_sorting(h: Tensor, largest: bool) -> Tensor:
    """The rank of every channel among those of its token, 0 for the largest (or smallest); equal ones by index.

    Args:
        h: Activations `[...,C]`.
        largest: Rank from the largest, else from the smallest.

    Returns:
        int64 `[...,C]`.
    """
    order = h.sort(dim=-1, descending=largest, stable=True).indices
    return torch.empty_like(order).scatter_(-1, order, torch.arange(h.shape[-1], device=h.device).expand_as(order))


def ranks_by_comparison(h: Tensor, largest: bool, earlier: Tensor) -> Tensor:
    """`ranks_by_sorting` of what holds no NaN: how many channels come before each, from comparing every two.

    Args:
        h: Activations `[...,C]`.
        largest: Rank from the largest, else from the smallest.
        earlier: `earlier_channels(C)`.
    """
    this, other = h.unsqueeze(-1), h.unsqueeze(-2)
    beyond, reached = (other > this, other >= this) if largest else (other < this, other <= this)
    # Beyond implies reached. (ONNX Runtime has no `where` for truth values.)
    return (beyond | (reached & earlier)).sum(-1)


def earlier_channels(channels: int, device: torch.device | None = None) -> Tensor:
    """Which channels, by column, have a smaller index than that of the row, bool `[C,C]`."""
    index = torch.arange(channels, device=device)
    return index < index[:, None]
