from __future__ import annotations

import pytest
import torch
from torch import distributed as dist
from torch.nn import functional as F

from samsod.benchmarks.counts import counted


def test_multiply_adds_of_forward_and_backward() -> None:
    x, weight = torch.randn(5, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True)
    assert counted(lambda: F.linear(x, weight)).macs == 5 * 7 * 3
    assert counted(lambda: torch.autograd.grad(F.linear(x, weight).sum(), [x])).macs == 2 * 5 * 7 * 3
    assert counted(lambda: torch.autograd.grad(F.linear(x, weight).sum(), [x, weight])).macs == 3 * 5 * 7 * 3
    image, kernel = torch.randn(2, 4, 6, 6), torch.randn(8, 4, 3, 3)
    assert counted(lambda: F.conv2d(image, kernel, padding=1)).macs == 2 * 6 * 6 * 8 * 4 * 9


def test_attention_is_counted_in_both_directions() -> None:
    query = torch.randn(2, 3, 10, 16, requires_grad=True)
    key, value = torch.randn(2, 2, 3, 20, 16).unbind()
    products = 2 * 3 * 10 * 20 * 16

    def backward() -> None:
        attended = F.scaled_dot_product_attention(query, key.requires_grad_(), value.requires_grad_())
        torch.autograd.grad(attended.sum(), [query, key, value])

    with torch.no_grad():
        assert counted(lambda: F.scaled_dot_product_attention(query, key, value)).macs == 2 * products
    assert counted(backward).macs == (2 + 5) * products


def test_operators_views_and_host_reads() -> None:
    x = torch.randn(4, 4)
    counts = counted(lambda: (x + 1).view(2, 8).t())
    assert (counts.operators, counts.views, counts.host_reads) == (3, 2, 0)
    assert counted(lambda: float(x.sum()) + bool(x[0, 0] > 9)).host_reads == 2


def test_collectives_and_their_bytes() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        counts = counted(lambda: [dist.all_reduce(torch.ones(6)), dist.all_reduce(torch.ones(2, dtype=torch.bfloat16))])
    finally:
        dist.destroy_process_group()
    assert (counts.collectives, counts.collective_bytes) == (2, 6 * 4 + 2 * 2)
    assert counted(lambda: torch.ones(6)).collectives == 0


def test_nothing_of_the_work_is_lost() -> None:
    with pytest.raises(ZeroDivisionError):
        counted(lambda: 1 / 0)
