"""The pyramid's maps at strides 4 and 8, which two convolutions of 1 by 1 make of the trunk's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Lateral(NamedTuple):
    """A map of the trunk and the pyramid's convolution of it, which is still to be computed.

    Attributes:
        map: `[B,C,h,w]`.
        layer: The convolution, of 1 by 1.
    """

    map: Tensor
    layer: nn.Conv2d

    def through(self, following: nn.Conv2d) -> Tensor:
        """What another convolution of 1 by 1, the decoder's, makes of the pyramid's map, `[B,C',h,w]`.

        Both are one, whose weight is the product of theirs: no map of all the pyramid's channels is made. Costs are
        counted as SAM2 has it.
        """
        if not torch.compiler.is_compiling() and torch.jit.is_tracing():  # what compiles cannot ask the latter
            counted: Tensor = following(self.layer(self.map))
            return counted
        first, second = self.layer.weight.flatten(1), following.weight.flatten(1)
        bias = F.linear(self.layer.bias, second, following.bias)  # type: ignore[arg-type]
        return F.conv2d(self.map, (second @ first)[:, :, None, None], bias)
