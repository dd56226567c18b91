"""Against one convolution after the other."""

from __future__ import annotations

import torch
from torch import nn

from samsod.modeling.sam2.lateral import Lateral
from tests.kept import kept_tensors


def test_two_convolutions_are_one_and_so_are_their_gradients() -> None:
    torch.manual_seed(0)
    layer, following = nn.Conv2d(6, 16, 1), nn.Conv2d(16, 4, 1)
    x = torch.randn(2, 6, 5, 3, requires_grad=True)
    wanted = [x, *layer.parameters(), *following.parameters()]
    one, both = Lateral(x, layer).through(following), following(layer(x))
    torch.testing.assert_close(one, both)
    grad = torch.randn_like(one)
    for found, expected in zip(*(torch.autograd.grad(made, wanted, grad) for made in (one, both)), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_map_between_is_not_made() -> None:
    layer, following = nn.Conv2d(6, 64, 1), nn.Conv2d(64, 4, 1)
    with kept_tensors() as kept:
        Lateral(torch.randn(1, 6, 32, 32), layer).through(following)
    assert max(tensor.numel() for tensor in kept) == 6 * 32 * 32


def test_traced_for_counting_it_is_both() -> None:
    layer, following = (nn.Conv2d(*channels, 1).requires_grad_(False) for channels in ((6, 16), (16, 4)))
    graph = torch.jit.trace(lambda x: Lateral(x, layer).through(following), torch.randn(1, 6, 5, 3)).graph
    assert str(graph).count("aten::_convolution") == 2
