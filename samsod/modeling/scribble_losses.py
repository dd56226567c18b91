"""Losses for scribbles: what is labelled is learnt, and the reference image says how far it reaches (SPEC 2).

Where only strokes are labelled, the pixels between them are decided by two terms without labels: a saliency map may
change only where the image does (`smoothness`), and nearby pixels of one colour are equally salient (`coherence`).
The guide of both is the reference image, for all streams: they are supervised with one truth, drawn on that image;
another modality's (a thermal image is too coarse to hold contours) would pull its stream to another truth.

Every term is a mean over images of figures that depend on one image each, so that neither micro-batches nor the
number of ranks change it (partial BCE divided by the labelled pixels of a whole batch would depend on both).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from samsod.registry import LOSSES
from samsod.utils.errors import UserError

LUMA = (0.299, 0.587, 0.114)
BORDERS = ("replicate", "zeros")


class _WeakLoss(ABC):
    """A loss that takes no pixel for background because it is not labelled.

    Attributes:
        partial_labels: Tells whoever puts data and loss together that sets with scribbles may be used.
        needs_guide: Tells them that batches must hold a `guide`.
    """

    partial_labels = True
    needs_guide = False

    def __call__(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Scalar loss of logits `[B,1,H,W]`, the mean over images, in float32.

        Args:
            logits: Of one stream.
            batch: `ground_truth` `[B,1,H,W]` in 0-1; `labelled` `[B,1,H,W]`, 1 where the truth is known, 0 elsewhere;
                without it, it is known everywhere; with `needs_guide` also `guide` `[B,3,H,W]`, the reference image in
                0-1. An image of one colour (blanked by augmentation, say) guides nothing: the term is 0 for it.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self.per_image(logits.float(), batch).mean()

    @abstractmethod
    def per_image(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of every image, `[B]`, from logits in float32."""


@LOSSES.register("partial_bce")
class PartialBce(_WeakLoss):
    """Binary cross-entropy over the labelled pixels: their sum by their number; 0 for an image without any."""

    def per_image(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of every image, `[B]`, from logits in float32."""
        truth = batch["ground_truth"].float()
        labelled = batch["labelled"].float() if "labelled" in batch else torch.ones_like(truth)
        pixelwise = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (labelled * pixelwise).sum((1, 2, 3)) / labelled.sum((1, 2, 3)).clamp_min(1)


@LOSSES.register("smoothness")
class Smoothness(_WeakLoss):
    """Edge-aware smoothness (Zhang et al., "Weakly-Supervised Salient Object Detection via Scribble Annotations").

    Mean over pixels of Σ_D c_D·ψ(D p · exp(-α·|D grey|)), with ψ(x) = √(x² + ε²), p = sigmoid(logit), grey the
    guide's luma in 0-1, and D the Sobel operators in x and y (c = `first`) and the Laplace operator of 8 neighbours
    (c = `second`), all 3×3 in whole numbers.

    Args:
        first: Weight of the first-order terms.
        second: Weight of the second-order term.
        alpha: How quickly an edge of the image lifts the penalty.
        epsilon: Where ψ turns from a parabola into the absolute value.
        border: What lies beyond the border: `replicate` its pixels, or `zeros`, as in the code of the paper's group,
            which penalise objects at the border.
    """

    needs_guide = True

    def __init__(
        self,
        first: float = 10.0,
        second: float = 1.0,
        alpha: float = 10.0,
        epsilon: float = 0.001,
        border: str = "replicate",
    ) -> None:
        if border not in BORDERS:
            raise UserError(f"loss.options.border: expected {' or '.join(BORDERS)}, found {border!r}")
        _check_positive(first=first, second=second, alpha=alpha)
        _check_positive(strictly=True, epsilon=epsilon)
        self.first, self.second, self.alpha, self.epsilon = first, second, alpha, epsilon
        self.border = border

    def per_image(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of every image, `[B]`, from logits in float32."""
        colours = batch["guide"].float()
        red, green, blue = (weight * plane for weight, plane in zip(LUMA, colours.split(1, 1), strict=True))
        return _guides(colours) * self.of_maps(logits.sigmoid(), red + green + blue)

    def of_maps(self, saliency: Tensor, grey: Tensor) -> Tensor:
        """The loss `[B]` of saliency maps under grey images, `[B,1,H,W]` each, in 0-1."""
        weights = (self.first, self.first, self.second)
        terms = zip(weights, _derivatives(saliency, self.border), _derivatives(grey, self.border), strict=True)
        total = saliency.new_zeros(len(saliency))
        for weight, change, edge in terms:
            held = change * torch.exp(-self.alpha * edge.abs())
            total = total + weight * (held.square() + self.epsilon**2).sqrt().mean((1, 2, 3))
        return total


@LOSSES.register("coherence")
class Coherence(_WeakLoss):
    """Local saliency coherence (Yu et al., "Structure-Consistent Weakly Supervised Salient Object Detection").

    On maps shrunk by `stride`: mean over pixels i of Σ_j k_ij·|p_i - p_j|, over the other pixels j of the window
    around i that lie in the image, with k_ij = exp(-|xy_i - xy_j|² / 2σ_xy² - |rgb_i - rgb_j|² / 2σ_rgb²), colours
    in 0-1.

    Args:
        window: Side of the window in pixels of the shrunk maps, odd.
        sigma_xy: Reach in pixels of the shrunk maps.
        sigma_rgb: How far two colours may differ.
        stride: Side of the square of pixels that become one.
    """

    needs_guide = True

    def __init__(self, window: int = 11, sigma_xy: float = 6.0, sigma_rgb: float = 0.1, stride: int = 4) -> None:
        if not (isinstance(window, int) and window >= 3 and window % 2):
            raise UserError(f"loss.options.window: expected an odd number from 3 on, found {window}")
        if not (isinstance(stride, int) and stride >= 1):
            raise UserError(f"loss.options.stride: expected a whole number from 1 on, found {stride}")
        _check_positive(strictly=True, sigma_xy=sigma_xy, sigma_rgb=sigma_rgb)
        self.window, self.sigma_xy, self.sigma_rgb, self.stride = window, sigma_xy, sigma_rgb, stride

    def per_image(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of every image, `[B]`, from logits in float32."""
        colours = batch["guide"].float()
        return _guides(colours) * self.of_maps(self._shrunk(logits.sigmoid()), self._shrunk(colours))

    def of_maps(self, saliency: Tensor, colours: Tensor) -> Tensor:
        """The loss `[B]` of maps `[B,1,h,w]` under colours `[B,3,h,w]` in 0-1, both shrunk already."""
        total: Tensor = _LocalDifferences.apply(saliency, colours, self.window, self.sigma_xy, self.sigma_rgb)
        return total / saliency[0].numel()

    def _shrunk(self, maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, self.stride, ceil_mode=True) if self.stride > 1 else maps


@LOSSES.register("scribble")
class Scribble(_WeakLoss):
    """Partial BCE + 0.3 · edge-aware smoothness + local saliency coherence (SPEC 2).

    Args:
        bce: Weight of `PartialBce`.
        smoothness: Weight of `Smoothness`.
        coherence: Weight of `Coherence`.
        border: Of `Smoothness`.
        **options: Of `Coherence`: window, sigma_xy, sigma_rgb, stride.
    """

    needs_guide = True

    def __init__(
        self,
        bce: float = 1.0,
        smoothness: float = 0.3,
        coherence: float = 1.0,
        border: str = "replicate",
        **options: Any,
    ) -> None:
        _check_positive(bce=bce, smoothness=smoothness, coherence=coherence)
        terms = ((bce, PartialBce()), (smoothness, Smoothness(border=border)), (coherence, Coherence(**options)))
        self.terms: list[tuple[float, _WeakLoss]] = [(weight, term) for weight, term in terms if weight]

    def per_image(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of every image, `[B]`, from logits in float32."""
        total = logits.new_zeros(len(logits))
        for weight, term in self.terms:
            total = total + weight * term.per_image(logits, batch)
        return total


def _guides(colours: Tensor) -> Tensor:
    """Which images can guide, `[B]`: 0 for one of a single colour, which would say that all is equally salient."""
    return (colours.amax((2, 3)) > colours.amin((2, 3))).any(1).float()


def _derivatives(maps: Tensor, border: str) -> tuple[Tensor, Tensor, Tensor]:
    """Sobel in x, Sobel in y and Laplace (of 8 neighbours) of `[B,1,H,W]`.

    Written as differences: convolutions may be rounded to TF32, and PyTorch's replicating pad is not deterministic.
    """
    if border == "zeros":
        wide = F.pad(maps, (1, 1, 1, 1))
    else:
        wide = torch.cat([maps[..., :1], maps, maps[..., -1:]], -1)
        wide = torch.cat([wide[..., :1, :], wide, wide[..., -1:, :]], -2)
    down = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    across = wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    window = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return down[..., 2:] - down[..., :-2], across[..., 2:, :] - across[..., :-2, :], window - 9 * maps


class _LocalDifferences(torch.autograd.Function):
    """Σ_i Σ_j k_ij·|p_i - p_j| of every image, `[B]`.

    One offset of the window is held at a time, and each pair of pixels met once. The gradient, k_ij times a sign, is
    added up on the way, so that what is kept for backward is one map, whatever the window.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, saliency: Tensor, colours: Tensor, window: int, sigma_xy: float, sigma_rgb: float
    ) -> Tensor:
        total = saliency.new_zeros(len(saliency))
        gradient = torch.zeros_like(saliency)
        for down, right, here, there in _half_window(window, *saliency.shape[-2:]):
            kernel = (colours[here] - colours[there]).square_().sum(1, keepdim=True)
            kernel = kernel.div_(-2 * sigma_rgb**2).sub_((down**2 + right**2) / (2 * sigma_xy**2)).exp_().mul_(2)
            change = saliency[here] - saliency[there]
            total += (kernel * change.abs()).sum((1, 2, 3))
            slope = kernel.mul_(change.sign_())
            gradient[here] += slope
            gradient[there] -= slope
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer.view(-1, 1, 1, 1), None, None, None, None


_Place = tuple[Any, slice, slice]


def _half_window(window: int, height: int, width: int) -> Iterator[tuple[int, int, _Place, _Place]]:
    """Offsets (down, right) that meet each pair of pixels once, and the places of both partners, as indices."""
    reach = window // 2
    for down in range(min(reach, height - 1) + 1):
        for right in range(-min(reach, width - 1), min(reach, width - 1) + 1):
            if down == 0 and right <= 0:
                continue
            rows = slice(0, height - down), slice(down, height)
            columns = slice(max(0, -right), width - max(0, right)), slice(max(0, right), width - max(0, -right))
            yield down, right, (..., rows[0], columns[0]), (..., rows[1], columns[1])


def _check_positive(strictly: bool = False, **options: float) -> None:
    wanted = "more than 0" if strictly else "0 or more"
    for name, value in options.items():
        if not (math.isfinite(value) and (value > 0 or (value == 0 and not strictly))):
            raise UserError(f"loss.options.{name}: expected {wanted}, found {value}")
