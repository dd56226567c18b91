"""Linear layers by the faster of a CPU's two libraries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORTH_IT = 2**26
"""Multiply-adds from which on a convolution is faster; launching one takes longer."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` of tokens `[...,d]` with a weight `[e,d]`, to `[...,e]`.

    On several threads of a CPU large ones in float32 are computed as convolutions of 1 by 1, for which PyTorch calls
    oneDNN. It takes 0.8 to 0.95 of the time of MKL's matrix product, which shares out many tokens of few channels among
    threads less well; on one thread they are alike.
    """
    made: Tensor = _Linear.apply(x, weight, bias) if _by_convolution(x, weight) else F.linear(x, weight, bias)
    return made


def _by_convolution(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # for other machines, and sizes left open
        return False
    if x.device.type != "cpu" or torch.get_num_threads() == 1 or not torch.backends.mkldnn.is_available():
        return False
    short = torch.is_autocast_enabled("cpu") or x.dtype != torch.float32 or weight.dtype != torch.float32
    return not short and x.numel() * len(weight) >= WORTH_IT


class _Linear(torch.autograd.Function):
    """A convolution's own backward pass would keep its input for the gradient of a weight that is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        return _as_tokens(F.conv2d(_as_map(x), _as_kernel(weight), bias), x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        weight, x = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            _as_tokens(F.conv_transpose2d(_as_map(grad), _as_kernel(weight)), grad) if wants_x else None,
            rows.t() @ x.flatten(0, -2) if wants_weight else None,
            rows.sum(0) if wants_bias else None,
        )


def _as_map(tokens: Tensor) -> Tensor:
    """Tokens `[...,d]` as a map of one row, `[1,d,1,n]`, channels last."""
    return tokens.reshape(1, 1, -1, tokens.shape[-1]).permute(0, 3, 1, 2)


def _as_tokens(made: Tensor, like: Tensor) -> Tensor:
    """A map `[1,e,1,n]` as tokens `[...,e]` of the same places as others."""
    return made.permute(0, 2, 3, 1).reshape(*like.shape[:-1], -1)


def _as_kernel(weight: Tensor) -> Tensor:
    return weight[:, :, None, None]


class Linear(nn.Linear):
    """A linear layer computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[...,d]` to `[...,e]`."""
        return linear(x, self.weight, self.bias)


def quicken(module: nn.Module) -> None:
    """Has the linear layers below a module computed by `linear`; their weights and names stay what they are."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = Linear
