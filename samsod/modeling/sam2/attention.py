"""Attention of Hiera's blocks: what SAM2's own computes, with its layers and weights, and fewer copies."""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.backbones.hieradet import MultiScaleAttention, MultiScaleBlock
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.modeling.products import linear

Pair = tuple[int, int]


class WindowAttention(nn.Module):
    """Attention within windows, at a stage's start with pooled queries; it has no weights of its own.

    A module, so that its products are counted as the trunk's, which it belongs to.
    """

    def forward(self, block: MultiScaleBlock, x: Tensor) -> Tensor:
        """What a block adds to its shortcut.

        Args:
            block: A block of SAM2's Hiera.
            x: Normed tokens `[B,h,w,C]`.

        Returns:
            `[B,h',w',C']`; halved sides and doubled channels at the start of stages 2 to 4.
        """
        height, width = x.shape[1:3]
        window, (down, across) = block.window_size, block.q_stride or (1, 1)
        if window == 0:
            return attend(block.attn, x, block.q_stride)
        windows, padded = window_partition(x, window)
        attended = attend(block.attn, windows, block.q_stride)
        # Pooling the queries shrank every window, and with it the padded map.
        padded = padded[0] // down, padded[1] // across
        return window_unpartition(attended, window // down, padded, (height // down, width // across))


def attend(attention: MultiScaleAttention, x: Tensor, stride: Pair | None = None) -> Tensor:
    """Attention of the tokens of each window to one another.

    Args:
        attention: SAM2's, of which the layers are used.
        x: Tokens `[N,h,w,C]` of N windows.
        stride: Side lengths of the rectangles of tokens that share a query; None: each has its own.

    Returns:
        `[N,h',w',C']`.
    """
    sides, heads = x.shape[1:3], attention.num_heads
    query, key, value = query_key_value(attention.qkv, x, heads)
    if stride:
        pooled = max_pool(query.flatten(2).unflatten(1, sides), stride)
        query, sides = pooled.flatten(1, 2).unflatten(-1, (heads, -1)), pooled.shape[1:3]
    attended = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    made: Tensor = attention.proj(attended.transpose(1, 2).flatten(2).unflatten(1, sides))
    return made


def query_key_value(layer: nn.Linear, x: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values, `[N,h·w,heads,C/heads]` each, of tokens `[N,h,w,C]`, as one product."""
    weight = layer.weight
    plain = torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or weight.requires_grad
    if x.device.type == "cpu" and x.requires_grad and not plain:
        apart: tuple[Tensor, ...] = _QueryKeyValue.apply(x, weight, layer.bias, heads)
        return apart
    return _in_three(layer(x), heads)


def _in_three(x: Tensor, heads: int) -> tuple[Tensor, ...]:
    return x.flatten(1, 2).unflatten(-1, (3, heads, -1)).unbind(2)


class _QueryKeyValue(torch.autograd.Function):
    """Of frozen weights. PyTorch joins the three gradients before it multiplies, by a copy that takes one thread."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, heads: int) -> tuple[Tensor, ...]:
        ctx.save_for_backward(weight)
        ctx.shape = x.shape
        return _in_three(linear(x, weight, bias), heads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        grad_x = weight.new_zeros(0)
        for index, (grad, part) in enumerate(zip(grads, weight.chunk(3), strict=True)):
            rows = grad.reshape(-1, len(part))
            grad_x = torch.addmm(grad_x, rows, part, out=grad_x) if index else rows @ part
        return grad_x.view(ctx.shape), None, None, None


def max_pool(x: Tensor, stride: Pair) -> Tensor:
    """`F.max_pool2d` without padding of tokens `[B,h,w,C]`, to `[B,h/stride,w/stride,C]`.

    For the backward pass it keeps where the maxima are in one byte each (four on large maps), PyTorch in eight.
    """
    pooled: Tensor = _MaxPool.apply(x, stride)
    return pooled


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: Pair) -> Tensor:
        maps = x.permute(0, 3, 1, 2)
        if not ctx.needs_input_grad[0]:
            return F.max_pool2d(maps, stride).permute(0, 2, 3, 1)
        pooled, indices = F.max_pool2d(maps, stride, return_indices=True)
        ctx.sides = x.shape[1:3]
        kept = indices.to(torch.uint8 if ctx.sides.numel() <= 256 else torch.int32)
        ctx.save_for_backward(kept.permute(0, 2, 3, 1).flatten(1, 2))
        return pooled.permute(0, 2, 3, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        # As F.max_unpool2d does, which PyTorch refuses where only deterministic algorithms are wanted.
        grad_x = grad.new_zeros(len(grad), ctx.sides.numel(), grad.shape[-1])
        return grad_x.scatter_(1, places.long(), grad.flatten(1, 2)).unflatten(1, ctx.sides), None
