"""TopK of every token's channels (paper Eq. 21), by their order and without reading anything back."""

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
        count = rho.floor()
        if by_numpy(key):
            value, bound = (_in_order if torch.compiler.is_compiling() else in_order)(key, count)
            kept = value > bound
        else:
            value, bound = ranks_by_comparison(key, earlier), count
            kept = value < bound
        if any(ctx.needs_input_grad):
            # Wide: under fp16 the product of a scaled gradient and an activation overflows.
            following = ((value == bound) * h).to(rho.dtype) if ctx.needs_input_grad[2] else None
            ctx.save_for_backward(kept, following)
            ctx.rho_shape = rho.shape
        return h * kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        kept, following = ctx.saved_tensors
        grad_h = grad * kept if ctx.needs_input_grad[0] else None
        grad_rho = None if following is None else (grad * following).sum_to_size(ctx.rho_shape)
        return grad_h, None, grad_rho, None


def by_numpy(key: Tensor) -> bool:
    """Whether `in_order` can rank the keys: a CPU's, of a type of up to 32 bits, at work or compiled, not exported.

    NumPy sorts 32 channels with vector instructions, some 14 times as fast as PyTorch.
    """
    at_work = torch.compiler.is_compiling() or type(key) is Tensor
    # Versions of PyTorch before 2.7 do not tell one from the other.
    exported = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)() or torch.jit.is_tracing()
    return key.device.type == "cpu" and key.dtype != torch.float64 and at_work and not exported


def in_order(key: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The keys as whole numbers that no two channels of a token share, and the one that follows the `count` largest.

    Args:
        key: Float `[...,C]` without NaN; of equal ones the earlier channel counts as larger.
        count: How many come before the following one, broadcastable to the keys with one channel.

    Returns:
        int64 `[...,C]` and `[...,1]`; where no key follows, less than any.
    """
    channels = key.shape[-1]
    bits = (key.float() + 0.0).view(torch.int32)  # 0.0 for -0.0, which equals it
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # the bits of negative numbers run backwards
    value = bits.long().mul_(channels).add_(torch.arange(channels - 1, -1, -1))
    ordered = value.clone()
    ordered.numpy().sort(axis=-1)
    place = (channels - 1 - count).long().expand(*value.shape[:-1], 1)
    following = ordered.gather(-1, place.clamp_min(0))
    return value, following.masked_fill_(place < 0, torch.iinfo(torch.int64).min)


@torch.library.custom_op("samsod::in_order", mutates_args=(), schema="(Tensor key, Tensor count) -> (Tensor, Tensor)")
def _in_order(key: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """`in_order` as one operator, which compiled code calls."""
    return in_order(key.contiguous(), count)


@_in_order.register_fake
def _(key: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    return key.new_empty(key.shape, dtype=torch.int64), key.new_empty((*key.shape[:-1], 1), dtype=torch.int64)


def ranks_by_comparison(h: Tensor, earlier: Tensor) -> Tensor:
    """The rank of every channel among those of its token, 0 for the largest; equal ones by index.

    It is how many come before, from comparing every two: neither ONNX nor the memory of a GPU likes a stable sort.

    Args:
        h: Activations `[...,C]` without NaN.
        earlier: `earlier_channels(C)`.

    Returns:
        int64 `[...,C]`.
    """
    this, other = h.unsqueeze(-1), h.unsqueeze(-2)
    # Larger implies as large. (ONNX Runtime has no `where` for truth values.)
    return ((other > this) | ((other >= this) & earlier)).sum(-1)


def earlier_channels(channels: int, device: torch.device | None = None) -> Tensor:
    """Which channels, by column, have a smaller index than that of the row, bool `[C,C]`."""
    index = torch.arange(channels, device=device)
    return index < index[:, None]
