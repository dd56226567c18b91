"""What the ranks tell each other beside their gradients, and how it reaches the host without stalling the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samsod.surgery.hook import MergedStep
from samsod.utils import distributed
from samsod.utils.host_copy import HostCopy

LEAST_SCALE = 1e-4
"""A loss scale below this has collapsed: it starts at 65536, and every step that overflows halves it."""
CHECKSUM_BITS = 24
"""A float32 holds whole numbers of so many bits, and the sum of one of them and zeros."""


@dataclass(frozen=True)
class _Published:
    step: int
    values: HostCopy
    own_losses: Mapping[str, Tensor]


class Status:
    """What all ranks know of a step: its losses, requests to stop, whether all is finite and all weights are equal.

    A step takes `own` along in its one all-reduce and publishes what comes back; the host checks that later, when it
    has arrived. It is the same on all ranks, so they all act on it in the same step.

    Args:
        parameters: What is trained.
        skips: Whether a step whose gradients overflow is skipped (fp16).

    Attributes:
        size: How many figures `own` has.
        stopping: Whether any rank was asked to stop.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], skips: bool) -> None:
        self.stopping = False
        self.size = 1 + distributed.world_size()
        self._parameters, self._skips = parameters, skips
        self._published: list[_Published] = []

    def own(self, asked_to_stop: bool, with_weights: bool) -> Tensor:
        """What this rank tells the others, `[size]`: a request to stop, and in its own place its weights' checksum."""
        figures = torch.zeros(self.size, device=self._parameters[0].device)
        if asked_to_stop:
            figures[:1].fill_(1.0)
        if with_weights and distributed.world_size() > 1:
            figures[1 + distributed.rank()].copy_(weights_checksum(self._parameters))
        return figures

    def publish(self, step: int, own_losses: Mapping[str, Tensor], merged: MergedStep, scale: Tensor) -> None:
        """Sends the host what all ranks said in a step.

        Args:
            step: The step's number, from 1.
            own_losses: This rank's losses by name.
            merged: What the step came to.
            scale: Its loss scale.
        """
        figures = torch.stack([*merged.losses.values(), merged.finite, scale])
        self._published.append(_Published(step, HostCopy(torch.cat([figures, merged.told])), own_losses))

    def check(self, lag: bool = False) -> None:
        """Acts on what the ranks said; with `lag` the newest step is left to the next check.

        Raises:
            FloatingPointError: A loss or a gradient is not finite, or the loss scale has collapsed.
            RuntimeError: A rank's weights are not the others'.
        """
        while len(self._published) > lag:
            published = self._published.pop(0)
            values: list[float] = published.values.read().tolist()
            *losses, finite, scale, stop = values[: -distributed.world_size()]
            self.stopping = self.stopping or stop > 0
            # Under fp16 a gradient that overflows is the loss scale's fault: the scaler skips the step.
            if not all(map(math.isfinite, losses)) or not (finite or self._skips):
                _raise_not_finite(published)
            if self._skips and scale < LEAST_SCALE:
                raise FloatingPointError(
                    f"step {published.step}: the loss scale has collapsed to {scale:.1e}: gradients overflow fp16 at "
                    "any scale; try engine.precision=bf16 or a lower train.lr"
                )
            _check_weights(published.step, values[-distributed.world_size() :])


def weights_checksum(parameters: Sequence[nn.Parameter]) -> Tensor:
    """A whole number of `CHECKSUM_BITS` bits, float32 0-dimensional, made of every bit of the parameters."""
    words = [p.detach().float().view(torch.int32).sum(dtype=torch.int64) for p in parameters]
    mixed = torch.stack(words).sum()
    return ((mixed ^ (mixed >> CHECKSUM_BITS)) % (1 << CHECKSUM_BITS)).float()


def _check_weights(step: int, checksums: Sequence[float]) -> None:
    usual = max(checksums, key=checksums.count)
    apart = [str(rank) for rank, checksum in enumerate(checksums) if checksum != usual]
    if apart:
        raise RuntimeError(
            f"step {step}: the weights of rank {' and '.join(apart)} are no longer those of rank "
            f"{checksums.index(usual)}: its memory or code is at fault; go on from a checkpoint before"
        )


def _raise_not_finite(published: _Published) -> None:
    mine = [name for name, loss in published.own_losses.items() if not torch.isfinite(loss)]
    found = enumerate(distributed.gather_objects(mine))
    where = [f"loss {name} on rank {rank}" for rank, names in found for name in names]
    cause = ", ".join(where) or "a gradient, though every loss is finite"
    raise FloatingPointError(f"step {published.step}: not finite: {cause}")
