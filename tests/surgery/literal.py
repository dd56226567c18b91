"""PCGrad as the paper writes it."""

from __future__ import annotations

import torch
from torch import Tensor


def literal_pcgrad(rows: Tensor, orders: list[list[int]]) -> Tensor:
    """Eq. 14-16 as written: cosine, projection, mean."""
    changed = []
    for i, order in enumerate(orders):
        current = rows[i].clone()
        for j in order:
            if current @ rows[j] < 0:
                current = current - (current @ rows[j]) / rows[j].norm() ** 2 * rows[j]
        changed.append(current)
    return torch.stack(changed).sum(0) / len(rows)
