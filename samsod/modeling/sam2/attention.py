"""Attention of Hiera's blocks: what SAM2's own computes, with its layers and weights, and fewer copies."""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.backbones.hieradet import MultiScaleAttention, MultiScaleBlock
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor, nn
from torch.nn import functional as F

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
        stride: Side lengths of the squares of tokens that share a query; None: each has its own.

    Returns:
        `[N,h',w',C']`.
    """
    query, key, value = attention.qkv(x).chunk(3, -1)  # going backward that is one concatenation, in parallel on a CPU
    if stride:
        query = max_pool(query, stride)
    heads = ((t.flatten(1, 2).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)) for t in (query, key, value))
    attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(query.shape)
    made: Tensor = attention.proj(attended)
    return made


def max_pool(x: Tensor, stride: Pair) -> Tensor:
    """`F.max_pool2d` without padding of tokens `[B,h,w,C]`, to `[B,h/stride,w/stride,C]`.

    For the backward pass it keeps where the maxima are in one byte each (four on large maps), PyTorch in eight.
    """
    pooled: Tensor = _MaxPool.apply(x.permute(0, 3, 1, 2), stride)
    return pooled.permute(0, 2, 3, 1)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: Pair) -> Tensor:
        if not ctx.needs_input_grad[0]:
            return F.max_pool2d(x, stride)
        pooled, indices = F.max_pool2d(x, stride, return_indices=True)
        ctx.sides, ctx.stride = x.shape[2:], stride
        ctx.save_for_backward(indices.to(torch.uint8 if ctx.sides.numel() <= 256 else torch.int32))
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        return F.max_unpool2d(grad, indices.long(), ctx.stride, output_size=ctx.sides), None
