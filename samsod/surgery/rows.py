"""The gradients of a step, one row per loss and group, and their average over the ranks.

Every loss's gradient is written as a row per group into one flat buffer; the buffer is averaged over the ranks in one
all-reduce, so the rows are those of the global batch. (DistributedDataParallel synchronises only the first of several
backward passes.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from samsod.modeling.parameter_groups import ParameterGroups
from samsod.utils import distributed


class GradientRows:
    """Rows of gradients in one flat buffer, with room for a few figures that travel along.

    Args:
        groups: The parameter groups.
        figures: How many figures travel with the rows.
        reduce_dtype: Type the rows travel in; bfloat16 halves the traffic and rounds every gradient to 8 bits.

    Attributes:
        by_group: Per group its rows, `[losses, parameters]` float32.
    """

    def __init__(self, groups: ParameterGroups, figures: int, reduce_dtype: torch.dtype = torch.float32) -> None:
        self.groups, self.reduce_dtype = groups, reduce_dtype
        device = groups[0].parameters[0].device
        widths = [sum(p.numel() for p in group.parameters) for group in groups]
        counts = [len(group.losses) * width for group, width in zip(groups, widths, strict=True)]
        self._flat = torch.zeros(sum(counts) + figures, device=device)
        self._rows, self._figures = self._flat.split([sum(counts), figures])
        blocks = self._rows.split(counts)
        self.by_group = [block.view(len(g.losses), -1) for block, g in zip(blocks, groups, strict=True)]

    def clear(self) -> None:
        """Empties the rows for the next step."""
        self._rows.zero_()

    def accumulate(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradients of each loss to its rows.

        Args:
            losses: Scalars by name, each the mean over this rank's images, all of one graph.
        """
        for index, (name, loss) in enumerate(losses.items()):
            reached = [
                (group, rows[group.losses.index(name)])
                for group, rows in zip(self.groups, self.by_group, strict=True)
                if name in group.losses
            ]
            parameters = [p for group, _ in reached for p in group.parameters]
            gradients = torch.autograd.grad(loss, parameters, retain_graph=index < len(losses) - 1, allow_unused=True)
            views = [view for group, row in reached for view in split_like(row, group.parameters)]
            for view, gradient in zip(views, gradients, strict=True):
                if gradient is not None:
                    view += gradient

    def average(self, figures: Tensor) -> Tensor:
        """Averages the rows over the ranks: one all-reduce, and a tiny one more when the rows travel shortened.

        Args:
            figures: What travels along, `[figures]` float32.

        Returns:
            The figures, averaged.
        """
        self._figures.copy_(figures)
        if self.reduce_dtype == self._flat.dtype or distributed.world_size() == 1:
            distributed.all_reduce_mean(self._flat)
        else:
            short = self._rows.to(self.reduce_dtype)
            distributed.all_reduce_mean(short)
            self._rows.copy_(short)
            distributed.all_reduce_mean(self._figures)
        return self._figures.clone()


def split_like(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Consecutive pieces of a flat tensor in the shapes of the parameters; they share its memory."""
    pieces = flat.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]
