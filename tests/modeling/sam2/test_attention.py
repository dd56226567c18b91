"""Against sam2's own attention and PyTorch's own pooling."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from samsod.modeling.sam2.attention import max_pool
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.sam2.specs import TrunkSpec
from samsod.utils.precision import autocast
from tests.kept import kept_tensors


@pytest.fixture(scope="module")
def encoder() -> Sam2Encoder:
    """Blocks that pool or not, with windows of their own stage or the one before, and one without windows."""
    torch.manual_seed(0)
    spec = TrunkSpec(16, 1, (1, 2, 2, 1), (4,), (4, 4, 6, 3))
    return Sam2Encoder(spec, 32).requires_grad_(False)


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("sides", [(8, 8), (12, 10)])
def test_a_block_and_its_gradient_equal_sam2s(encoder: Sam2Encoder, index: int, sides: tuple[int, int]) -> None:
    """Sides that the windows divide, and such that they do not."""
    torch.manual_seed(index)
    block = encoder.trunk.blocks[index]
    tokens = torch.randn(2, *sides, block.dim, requires_grad=True)
    ours = encoder.block(index, tokens, lambda _, x: torch.zeros_like(x), (0, 0))
    theirs = block(tokens)
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad(made, tokens, grad)[0] for made in (ours, theirs)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_where_the_encoder_is_trained_its_gradients_equal_sam2s(encoder: Sam2Encoder, precision: str) -> None:
    torch.manual_seed(0)
    trained = copy.deepcopy(encoder).requires_grad_(True)
    images, gradients = torch.randn(1, 3, 32, 32), []
    for run in (lambda: trained(images, lambda _, x: torch.zeros_like(x)), lambda: trained.trunk(images)):
        with autocast(torch.device("cpu"), precision):
            made = sum(each.float().square().sum() for each in run())
        gradients.append(torch.autograd.grad(made, [*trained.trunk.parameters()]))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(("sides", "stride"), [((8, 8), (2, 2)), ((34, 10), (2, 2)), ((7, 9), (3, 2))])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_pooling_equals_pytorchs_ties_included(
    sides: tuple[int, int], stride: tuple[int, int], kind: torch.dtype
) -> None:
    torch.manual_seed(0)
    x = torch.randint(3, (2, *sides, 5)).to(kind).requires_grad_()  # most windows hold their maximum twice or more
    ours = max_pool(x, stride)
    theirs = F.max_pool2d(x.permute(0, 3, 1, 2), stride).permute(0, 2, 3, 1)
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(ours)
    assert torch.equal(*(torch.autograd.grad(made, x, grad)[0] for made in (ours, theirs)))


def test_pooling_goes_backward_where_only_deterministic_algorithms_are_wanted() -> None:
    x = torch.randn(1, 4, 4, 3, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        max_pool(x, (2, 2)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert x.grad is not None and x.grad.sum() == 12


def test_pooling_keeps_a_byte_for_each_maximum() -> None:
    x = torch.randn(2, 16, 16, 3, requires_grad=True)
    with kept_tensors() as kept:
        pooled = max_pool(x, (2, 2))
    assert sum(tensor.nbytes for tensor in kept) == pooled.numel()
