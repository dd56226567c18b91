"""The adapters beside the MLP of every Hiera block (paper III.B, Eq. 18 and 21-23).

An adapter maps the tokens after the attention residual, `[B,h,w,d]`, to what is added to them, before the common
factor `scale`. Its down-projections start Kaiming-uniform and everything else at zero (the gates too, unless
`gate_start` says otherwise), so a fresh adapter adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.config import AdapterConfig
from samsod.modeling.products import linear
from samsod.modeling.ranking import KeepRanked, earlier_channels
from samsod.registry import ADAPTERS


def build_adapter(config: AdapterConfig, dim: int) -> nn.Module:
    """The configured adapter for tokens of `dim` channels.

    Raises:
        UserError: No adapter of that name is registered.
    """
    return ADAPTERS.get(config.name)(dim, config)


def adapt(adapters: Sequence[nn.Module], x: Tensor, scale: float) -> Tensor:
    """What is added to the tokens of one block beside its MLP.

    Args:
        adapters: One for each modality.
        x: Tokens `[m·B,h,w,d]`, those of the first modality first.
        scale: The common factor of what adapters return.

    Returns:
        `[m·B,h,w,d]`.
    """
    if len(adapters) == 1:
        one = adapters[0]
        added: Tensor = one(x, scale) if isinstance(one, DecoupledAdapter) else scale * one(x)
        return added
    if all(type(adapter) is DecoupledAdapter for adapter in adapters):
        return decoupled_together(adapters, x, scale)  # type: ignore[arg-type]
    return scale * torch.cat([adapter(part) for adapter, part in zip(adapters, x.chunk(len(adapters)), strict=True)])


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

    alphas: Tensor
    signs: Tensor
    earlier: Tensor

    def __init__(self, dim: int, config: AdapterConfig) -> None:
        super().__init__()
        self.channels = config.bottleneck
        self.beta = config.beta
        self.gate_scope, self.gate_pooling = config.gate_scope, config.gate_pooling
        self.foreground = Bottleneck(dim, config.bottleneck)
        self.background = Bottleneck(dim, config.bottleneck)
        self.gate = _gate(dim, config)
        self.straight_through = config.gate_gradient == "straight_through"
        # Without a gradient through floor() no loss reaches the gate.
        self.gate.requires_grad_(self.straight_through)
        # In float64, that ρ, which may lie on an integer, is rounded alike in every type.
        alphas = torch.tensor([config.alpha_foreground, config.alpha_background], dtype=torch.float64)
        self.register_buffer("alphas", alphas, persistent=False)
        self.register_buffer("signs", torch.tensor([[1.0], [-1.0]]), persistent=False)
        self.register_buffer("earlier", earlier_channels(config.bottleneck), persistent=False)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Tokens `[B,h,w,d]` to `scale` times what is added to them, `[B,h,w,d]`."""
        foreground, background = self.foreground.up, self.background.up
        weight, bias = torch.cat([foreground.weight, background.weight], 1), foreground.bias + background.bias
        kept = self.kept(x).view(-1, 2 * self.channels)
        return torch.addmm(scale * bias, kept, weight.t(), alpha=scale).view(x.shape)

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of Eq. 21, `[B,h,w,d]` each."""
        foreground, background = self.kept(x).unbind(-2)
        return self.foreground.up(foreground), self.background.up(background)

    def kept(self, x: Tensor) -> Tensor:
        """The activations of foreground and background that are kept, the rest 0, `[B,h,w,2,c]`."""
        foreground, background = self.foreground.down, self.background.down
        weight = torch.cat([foreground.weight, background.weight])
        h = F.gelu(linear(x, weight, torch.cat([foreground.bias, background.bias]))).unflatten(-1, (2, self.channels))
        return self.keep(h, self.rho(x, self.gate))

    def kept_channels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """ρ of foreground and background before the floor, `[B,1,1,1]` (`[1,1,1,1]` per batch) each."""
        foreground, background = self.rho(x, self.gate).unbind(-2)
        return foreground, background

    def keep(self, h: Tensor, rho: Tensor) -> Tensor:
        """Of the activations `[...,2,c]` of foreground and background those that ρ, `[...,2,1]`, keeps, the rest 0."""
        return KeepRanked.apply(h, h.detach() * self.signs, rho, self.earlier)

    def rho(self, x: Tensor, gate: Callable[[Tensor], Tensor], first: int = 0) -> Tensor:
        """ρ = c·(α + β·G) before the floor.

        Args:
            x: Tokens `[B,h,w,d]`, perhaps with more dimensions before.
            gate: A·x + b, in which those more dimensions may have their own A and b.
            first: How many they are.

        Returns:
            `[B,1,1,2,1]` (`[1,1,1,2,1]` per batch), with the same dimensions before.
        """
        x = x if self.straight_through else x.detach()
        tokens = [first + dim for dim in ((1, 2) if self.gate_scope == "image" else (0, 1, 2))]
        wide = torch.promote_types(x.dtype, torch.float32)
        if self.gate_pooling == "tokens":
            shares = torch.softmax(gate(x), dim=-1, dtype=wide).mean(tokens, keepdim=True)
        else:
            shares = torch.softmax(gate(x.mean(tokens, keepdim=True, dtype=wide)), dim=-1, dtype=wide)
        return (self.channels * (self.alphas.to(shares.dtype) + self.beta * shares)).unsqueeze(-1)


def decoupled_together(adapters: Sequence[DecoupledAdapter], x: Tensor, scale: float) -> Tensor:
    """What `adapt` returns of decoupled adapters, each of their products as one over all of them."""
    one, count, channels = adapters[0], len(adapters), adapters[0].channels
    batch, height, width, dim = x.shape[0] // count, *x.shape[1:]
    tokens = x.reshape(count, -1, dim)
    branches = [branch for adapter in adapters for branch in (adapter.foreground, adapter.background)]
    down, bias = (torch.cat([getattr(branch.down, name) for branch in branches]) for name in ("weight", "bias"))
    h = F.gelu(torch.baddbmm(bias.view(count, 1, -1), tokens, down.view(count, -1, dim).transpose(1, 2)))

    def gate(x: Tensor) -> Tensor:
        weight, bias = (torch.cat([getattr(adapter.gate, name) for adapter in adapters]) for name in ("weight", "bias"))
        logits = torch.baddbmm(bias.view(count, 1, 2), x.flatten(1, 3), weight.view(count, 2, dim).transpose(1, 2))
        return logits.unflatten(1, x.shape[1:4])

    rho = one.rho(tokens.unflatten(1, (batch, height, width)), gate, first=1)
    kept = one.keep(h.view(count, batch, height, width, 2, channels), rho)
    up = torch.cat([branch.up.weight for branch in branches], 1).view(dim, count, -1).permute(1, 2, 0)
    bias = torch.cat([branch.up.bias for branch in branches]).view(count, 2, dim).sum(1, keepdim=True)
    return torch.baddbmm(scale * bias, kept.view(count, -1, 2 * channels), up, alpha=scale).view(x.shape)


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

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Tokens `[B,h,w,d]` to `scale` times what is added to them, `[B,h,w,d]`."""
        foreground, background = self.branches(x)
        weights = scale * torch.softmax(self.branch_gate(x), dim=-1)
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
