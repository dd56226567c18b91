"""Losses on one prediction; every stream is supervised on its own (paper Eq. 3, 7, 8).

A loss is called as `loss(logits, batch)` with logits `[B,1,H,W]` and the batch's tensors by name, and returns a
scalar, the mean over images.
"""

from __future__ import annotations

import weakref
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
    the pixels of an image, mean over images, all in float32. The weights w are made once for all streams that are held
    against the same truth.

    Args:
        window: Side of the averaging window in pixels, odd.
    """

    def __init__(self, window: int = 31) -> None:
        if window < 1 or window % 2 == 0:
            raise UserError(f"loss.options.window: expected an odd number, found {window}")
        self.window = window
        self._weighted: tuple[weakref.ref[Tensor], int, Tensor] | None = None

    def __call__(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of logits `[B,1,H,W]` against `batch["ground_truth"]`, `[B,1,H,W]` in 0-1."""
        with torch.autocast(logits.device.type, enabled=False):
            truth = batch["ground_truth"]
            return _in_float32(logits.float(), truth.float(), self._weights(truth)).mean()

    def _weights(self, truth: Tensor) -> Tensor:
        """The weights of the pixels of a truth; those of the last one are kept as long as it is there, unchanged."""
        if truth.is_inference():  # whose changes nobody counts
            return border_weights(truth.float(), self.window)
        if self._weighted:
            of, version, weights = self._weighted
            if of() is truth and version == truth._version:
                return weights
        weights = border_weights(truth.float(), self.window)
        self._weighted = weakref.ref(truth), truth._version, weights
        return weights


def border_weights(truth: Tensor, window: int) -> Tensor:
    """The weights w of the pixels of a truth, float32 `[B,1,H,W]` both.

    The average over a square is one along the columns and then one along the rows: 2n additions a pixel, not n².
    """
    columns = F.avg_pool2d(truth, (window, 1), stride=1, padding=(window // 2, 0))
    blurred = F.avg_pool2d(columns, (1, window), stride=1, padding=(0, window // 2))
    return 1 + 5 * (blurred - truth).abs()


def _in_float32(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """The loss of every image, `[B]`."""
    pixelwise = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    bce = (weight * pixelwise).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    p = logits.sigmoid()
    overlap = (weight * p * truth).sum((1, 2, 3))
    total = (weight * (p + truth)).sum((1, 2, 3))
    return bce + 1 - (overlap + 1) / (total - overlap + 1)
