"""What some work launches: operators, multiply-adds in forward and backward, collectives and their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]
aten = torch.ops.aten


@dataclass(frozen=True)
class Counts:
    """What some work launched on this rank."""

    operators: int
    """all operators, those of backward passes too"""
    views: int
    """those of them that only make a view, which launches no kernel"""
    macs: int
    """multiply-adds of matrix products, convolutions and attention, as torch.utils.flop_counter counts them (halved)"""
    collectives: int
    """operations between ranks"""
    collective_bytes: int
    """what was handed to them"""
    host_reads: int
    """values read back from tensors, as by `.item()` or `bool(tensor)`"""


class Operators(TorchDispatchMode):
    """Counts what is launched while the block runs.

    Attributes:
        names: How often each operator was launched, by name.
        views: How many of them make a view.
        collectives: How many are operations between ranks.
        collective_bytes: The bytes these were handed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.views = self.collectives = self.collective_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            self.collectives += 1
            self.collective_bytes += sum(tensor.nbytes for tensor in tensors_in(args[:1]))
        else:
            self.names[func.overloadpacket.__name__] += 1
            self.views += func.is_view
        return func(*args, **(kwargs or {}))


def counted(work: Callable[[], object]) -> Counts:
    """What `work` launches; it takes a few times as long as without counting."""
    with Operators() as operators, FlopCounterMode(display=False, custom_mapping=_ATTENTION_ON_CPU) as flops:
        work()
    return Counts(
        operators=operators.names.total(),
        views=operators.views,
        macs=flops.get_total_flops() // 2,
        collectives=operators.collectives,
        collective_bytes=operators.collective_bytes,
        host_reads=operators.names["_local_scalar_dense"],
    )


def attention_flops(query: Shape, key: Shape, value: Shape, *rest: Any, out_shape: Any = None, **more: Any) -> int:
    """Two per multiply-add of QKᵀ and of its product with V, from shapes `[batch,heads,tokens,channels]`."""
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward_flops(
    grad: Shape, query: Shape, key: Shape, value: Shape, *rest: Any, out_shape: Any = None, **more: Any
) -> int:
    """Two per multiply-add of its five products: QKᵀ once more, and the gradients of P, V, Q and K."""
    return 2 * prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


# What torch.utils.flop_counter leaves out; it counts the kernels of GPUs by the same formulas.
_ATTENTION_ON_CPU = {
    aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and mappings."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from tensors_in(item)
    elif isinstance(tree, dict):
        yield from tensors_in(list(tree.values()))
