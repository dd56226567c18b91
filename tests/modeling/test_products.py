"""Against PyTorch's own linear layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from samsod.benchmarks.counts import Operators
from samsod.modeling.products import Linear, linear, quicken
from samsod.utils.precision import autocast
from tests.kept import kept_tensors


def convolutions(work: Callable[[], object]) -> int:
    """How many convolutions some work takes."""
    with Operators() as operators:
        work()
    return operators.names["convolution"] + operators.names["mkldnn_convolution"]


@pytest.mark.usefixtures("by_convolution")
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 4, 8), (1, 8), (1, 7, 1, 8)])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_equal_pytorchs(shape: tuple[int, ...], trained: bool, bias: bool) -> None:
    x = torch.randn(shape, requires_grad=True)
    weight, added = torch.randn(6, 8, requires_grad=trained), torch.randn(6, requires_grad=trained) if bias else None
    wanted = [tensor for tensor in (x, weight, added) if tensor is not None and tensor.requires_grad]
    ours, theirs = linear(x, weight, added), F.linear(x, weight, added)
    torch.testing.assert_close(ours, theirs)
    assert ours.shape == theirs.shape and ours.is_contiguous()
    grad = torch.randn_like(ours)
    for found, expected in zip(*(torch.autograd.grad(made, wanted, grad) for made in (ours, theirs)), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("by_convolution")
def test_tokens_in_any_layout() -> None:
    """Scattered channels, rows of a larger tensor, and gradients that are one number shown in every place."""
    weight = torch.randn(6, 8)
    for x in (torch.randn(2, 8, 5, 4).permute(0, 2, 3, 1), torch.randn(5, 20)[:, 4:12], torch.randn(1, 8).expand(5, 8)):
        torch.testing.assert_close(linear(x, weight), F.linear(x, weight))
    x = torch.randn(5, 8, requires_grad=True)
    (found,) = torch.autograd.grad(linear(x, weight).sum(), x)
    torch.testing.assert_close(found, weight.sum(0).expand(5, 8))


@pytest.mark.usefixtures("by_convolution")
def test_a_frozen_weight_keeps_no_tokens_for_the_backward_pass() -> None:
    x, weight = torch.randn(5, 8, requires_grad=True), torch.randn(6, 8)
    with kept_tensors() as kept:
        linear(x, weight)
    assert [tensor.data_ptr() for tensor in kept] == [weight.data_ptr()]


@pytest.mark.usefixtures("two_threads")
def test_where_it_is_a_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small, weight = torch.randn(2**16, 32), torch.randn(2**16 - 1, 32), torch.randn(32, 32)
    assert convolutions(lambda: linear(large, weight)) == 1
    assert convolutions(lambda: linear(small, weight)) == 0
    assert convolutions(lambda: linear(large.double(), weight.double())) == 0
    with autocast(torch.device("cpu"), "bf16"):
        assert convolutions(lambda: linear(large, weight)) == 0
        assert linear(large, weight).dtype == torch.bfloat16
    recorded = torch.jit.trace(lambda x: linear(x, weight), large)
    assert "conv" not in str(recorded.graph)
    assert convolutions(lambda: linear(large.to("meta"), weight.to("meta"))) == 0
    torch.set_num_threads(1)
    assert convolutions(lambda: linear(large, weight)) == 0


@pytest.mark.usefixtures("by_convolution")
def test_layers_are_quickened_in_place() -> None:
    inner = nn.Linear(8, 4, bias=False)
    plain = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Sequential(inner), nn.LayerNorm(4))
    state, x = plain.state_dict(), torch.randn(3, 8)
    expected = plain(x)
    quicken(plain)
    assert convolutions(lambda: plain(x)) == 2 and type(inner) is Linear
    torch.testing.assert_close(plain(x), expected)
    assert all(plain.state_dict()[key].data_ptr() == value.data_ptr() for key, value in state.items())
