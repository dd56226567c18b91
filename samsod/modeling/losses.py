"""Losses on one prediction; every stream is supervised on its own (paper Eq. 3, 7, 8).

A loss is called as `loss(logits, batch)` with logits `[B,1,H,W]` and the batch's tensors by name, and returns a
scalar, the mean over images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from samsod.config import LossConfig
from samsod.registry import LOSSES
from samsod.utils.errors import UserError

Loss = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


def build_loss(config: LossConfig) -> Loss:
    """The configured loss.

    Raises:
        UserError: No loss of that name is registered, or it does not take these options.
    """
    try:
        return LOSSES.get(config.name)(**config.options)
    except TypeError as error:
        raise UserError(f"loss.options: {config.name} does not take {config.options}: {error}") from None


@LOSSES.register("weighted_iou_bce")
class WeightedIouBce:
    """Weighted IoU plus weighted BCE, heavier near the object's border (F3Net, AAAI 2020; paper Eq. 3).

    w = 1 + 5·|avgpool(g) - g|; BCE: Σ w·bce / Σ w; IoU: 1 - (Σ w·p·g + 1) / (Σ w·(p + g) - Σ w·p·g + 1); sums over
    the pixels of an image, mean over images, all in float32.

    Args:
        window: Side of the averaging window in pixels, odd.
    """

    def __init__(self, window: int = 31) -> None:
        if window < 1 or window % 2 == 0:
            raise UserError(f"loss.options.window: expected an odd number, found {window}")
        self.window = window

    def __call__(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of logits `[B,1,H,W]` against `batch["ground_truth"]`, `[B,1,H,W]` in 0-1."""
        with torch.autocast(logits.device.type, enabled=False):
            truth = batch["ground_truth"].float()
            return self._in_float32(logits.float(), truth).mean()

    def _in_float32(self, logits: Tensor, truth: Tensor) -> Tensor:
        blurred = F.avg_pool2d(truth, self.window, stride=1, padding=self.window // 2)
        weight = 1 + 5 * (blurred - truth).abs()
        pixelwise = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        bce = (weight * pixelwise).sum((1, 2, 3)) / weight.sum((1, 2, 3))
        p = logits.sigmoid()
        overlap = (weight * p * truth).sum((1, 2, 3))
        total = (weight * (p + truth)).sum((1, 2, 3))
        return bce + 1 - (overlap + 1) / (total - overlap + 1)
