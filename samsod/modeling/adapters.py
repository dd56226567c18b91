"""The adapters beside the MLP of every Hiera block (paper III.B, Eq. 18 and 21-23).

An adapter maps the tokens after the attention residual, `[B,h,w,d]`, to what is added to them, before the common
factor `scale`. Its down-projections start Kaiming-uniform and everything else at zero (the gates too, unless
`gate_start` says otherwise), so a fresh adapter adds nothing.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.config import AdapterConfig
from samsod.registry import ADAPTERS


def build_adapter(config: AdapterConfig, dim: int) -> nn.Module:
    """The configured adapter for tokens of `dim` channels.

    Raises:
        UserError: No adapter of that name is registered.
    """
    return ADAPTERS.get(config.name)(dim, config)


@ADAPTERS.register("vanilla")
class VanillaAdapter(nn.Module):
    """Linear, GELU, Linear (Eq. 18).

    Args:
        dim: Channels d of the tokens.
        config: The adapter's settings.
    """

    def __init__(self, dim: int, config: AdapterConfig) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(dim, config.bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B,h,w,d]` to what is added to them, `[B,h,w,d]`."""
        return self.bottleneck.up(self.bottleneck.activate(x))


@ADAPTERS.register("none")
class NoAdapter(nn.Module):
    """Nothing beside the MLP: what is trained is the encoder itself, as `model.encoder_from` takes it over.

    Args:
        dim: Channels d of the tokens.
        config: The adapter's settings.
    """

    def __init__(self, dim: int, config: AdapterConfig) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B,h,w,d]` to zeros, `[B,h,w,d]`."""
        return torch.zeros_like(x)


@ADAPTERS.register("decoupled")
class DecoupledAdapter(nn.Module):
    """A foreground bottleneck that keeps its largest activations, a background one that keeps its smallest (Eq. 21).

    How many each token keeps is k = floor(c·(α + β·G)) of c channels (Eq. 22). The gate G = softmax(A·x̄ + b) (Eq. 23)
    sees the mean token x̄: of the image, or of the whole batch as in the released code (`gate_scope`). That code takes
    the softmax of every token and then their mean (`gate_pooling: tokens`), which would cost 0.14 GMAC in the large
    model: the paper's 418.0 G comes out without.

    Both bottlenecks go down as one product of d by 2c and up as one of 2c by d.

    Args:
        dim: Channels d of the tokens.
        config: The adapter's settings.
    """

    signs: Tensor

    def __init__(self, dim: int, config: AdapterConfig) -> None:
        super().__init__()
        self.channels = config.bottleneck
        self.alphas = (config.alpha_foreground, config.alpha_background)
        self.beta = config.beta
        self.gate_scope, self.gate_pooling = config.gate_scope, config.gate_pooling
        self.foreground = Bottleneck(dim, config.bottleneck)
        self.background = Bottleneck(dim, config.bottleneck)
        self.gate = _gate(dim, config)
        self.straight_through = config.gate_gradient == "straight_through"
        # Without a gradient through floor() no loss reaches the gate.
        self.gate.requires_grad_(self.straight_through)
        self.register_buffer("signs", torch.tensor([[1.0], [-1.0]]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B,h,w,d]` to what is added to them, `[B,h,w,d]`."""
        foreground, background = self.foreground.up, self.background.up
        weight = torch.cat([foreground.weight, background.weight], 1)
        return F.linear(self.kept(x).flatten(-2), weight, foreground.bias + background.bias)

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of Eq. 21, `[B,h,w,d]` each."""
        foreground, background = self.kept(x).unbind(-2)
        return self.foreground.up(foreground), self.background.up(background)

    def kept(self, x: Tensor) -> Tensor:
        """The activations of foreground and background that are kept, the rest 0, `[B,h,w,2,c]`."""
        foreground, background = self.foreground.down, self.background.down
        weight = torch.cat([foreground.weight, background.weight])
        h = F.gelu(F.linear(x, weight, torch.cat([foreground.bias, background.bias]))).unflatten(-1, (2, self.channels))
        rho = torch.cat(self.kept_channels(x if self.straight_through else x.detach()), -1).unsqueeze(-1)
        return _KeepRanked.apply(h, h.detach() * self.signs, rho)

    def kept_channels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """ρ = c·(α + β·G) of foreground and background before the floor, `[B,1,1,1]` (`[1,1,1,1]` per batch)."""
        tokens = (1, 2) if self.gate_scope == "image" else (0, 1, 2)
        wide = torch.promote_types(x.dtype, torch.float32)
        if self.gate_pooling == "tokens":
            shares = torch.softmax(self.gate(x), dim=-1, dtype=wide).mean(tokens, keepdim=True)
        else:
            shares = torch.softmax(self.gate(x.mean(tokens, keepdim=True, dtype=wide)), dim=-1, dtype=wide)
        foreground, background = shares.split(1, dim=-1)
        alpha_foreground, alpha_background = self.alphas
        return (
            self.channels * (alpha_foreground + self.beta * foreground),
            self.channels * (alpha_background + self.beta * background),
        )


@ADAPTERS.register("decoupled_moe")
class DecoupledMoeAdapter(DecoupledAdapter):
    """`decoupled`, its two branches weighed per token by a second gate, as in the released code.

    Args:
        dim: Channels d of the tokens.
        config: The adapter's settings.
    """

    def __init__(self, dim: int, config: AdapterConfig) -> None:
        super().__init__(dim, config)
        self.branch_gate = _gate(dim, config)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B,h,w,d]` to what is added to them, `[B,h,w,d]`."""
        foreground, background = self.branches(x)
        weights = torch.softmax(self.branch_gate(x), dim=-1)
        return weights[..., 0:1] * foreground + weights[..., 1:2] * background


class Bottleneck(nn.Module):
    """Down-projection with GELU, and up-projection.

    Args:
        dim: Channels d of the tokens.
        channels: Channels of the bottleneck.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, channels)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.down.bias)
        self.up = zero_linear(channels, dim)

    def activate(self, x: Tensor) -> Tensor:
        """The activations of the bottleneck, `[..., channels]`."""
        return F.gelu(self.down(x))


def _gate(dim: int, config: AdapterConfig) -> nn.Linear:
    """A gate's linear layer: of its two outputs the first is the foreground's."""
    return nn.Linear(dim, 2) if config.gate_start == "random" else zero_linear(dim, 2)


def zero_linear(dim_in: int, dim_out: int) -> nn.Linear:
    """A linear layer that starts at zero."""
    layer = nn.Linear(dim_in, dim_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


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
    return _KeepRanked.apply(h, h.detach() if largest else -h.detach(), rho)


class _KeepRanked(torch.autograd.Function):
    """Keeps the channels whose `key` is largest; see `keep_ranked`."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, key: Tensor, rho: Tensor) -> Tensor:
        # ONNX has no stable sort; a CPU sorts 32 channels five times as fast as it compares every two of them.
        sorts = h.device.type == "cpu" and not torch.compiler.is_compiling()
        rank = ranks_by_sorting(key, True) if sorts else ranks_by_comparison(key, True)
        kept = rank < rho.floor()
        following = rank == rho.floor()
        ctx.save_for_backward(kept, (h * following).sum(-1, keepdim=True), following)
        ctx.rho_shape, ctx.rho_dtype = rho.shape, rho.dtype
        return h * kept

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        kept, activation, following = ctx.saved_tensors
        grad_h = grad_rho = None
        if ctx.needs_input_grad[0]:
            grad_h = grad * kept
        if ctx.needs_input_grad[2]:
            # Widened first: under fp16 the product of a scaled gradient and an activation overflows.
            at_following = (grad * following).sum(-1, keepdim=True).to(ctx.rho_dtype)
            grad_rho = (at_following * activation.to(ctx.rho_dtype)).sum_to_size(ctx.rho_shape)
        return grad_h, None, grad_rho


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


def ranks_by_comparison(h: Tensor, largest: bool) -> Tensor:
    """`ranks_by_sorting` of what holds no NaN: how many channels come before each, from comparing every two."""
    this, other = h.unsqueeze(-1), h.unsqueeze(-2)
    index = torch.arange(h.shape[-1], device=h.device)
    first = other > this if largest else other < this
    return (first | ((other == this) & (index < index[:, None]))).sum(-1)
