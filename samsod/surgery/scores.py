"""How well a stream does on a batch, for gradient rules that go by it; no gradient flows through a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Score = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""Of logits `[B,1,H,W]` and the batch by name a scalar in 0-1, 1 for perfect: the mean over the images, so that
micro-batches and ranks average to the whole batch's."""

BETA_SQUARED = 0.3
"""The field's weight of precision in the F-measure."""


def soft_f_measure(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """F-measure of the saliency without a threshold: (1 + β²) Σ p·g / (β² Σ g + Σ p), mean over images."""
    p, truth = _known(logits, batch)
    return _ratio((1 + BETA_SQUARED) * p * truth, BETA_SQUARED * truth + p)


def soft_iou(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Intersection over union without a threshold: Σ p·g / Σ (p + g - p·g), mean over images."""
    p, truth = _known(logits, batch)
    return _ratio(p * truth, p + truth - p * truth)


def _known(logits: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Saliency and truth in float32, zero where a scribble set says nothing of the truth."""
    p, truth = logits.float().sigmoid(), batch["ground_truth"].float()
    return (p * batch["labelled"], truth * batch["labelled"]) if "labelled" in batch else (p, truth)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Σ above / Σ below over the pixels, mean over images; 0 for an image without any."""
    least = torch.finfo(below.dtype).tiny
    return (above.sum((1, 2, 3)) / below.sum((1, 2, 3)).clamp_min(least)).mean()
