"""The metrics of a batch of maps where its tensors lie.

The device passes once over the pixels for the histograms of each image. They go to the host in one copy, and what is
left to do there takes no pixel.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from samsod.evaluation.metrics.histograms import ImageScores, normalised_levels, score_histograms
from samsod.evaluation.metrics.weighted_f import KERNEL, REACH, from_errors

FAR = 160
"""Distance in pixels from which an error's weight is 2, to 2⁻³²."""
MARGIN = int(REACH * 2**0.5)
"""How many rows or columns the true pixel nearest to one inside the smoothing window may be away."""


def score_batch(predictions: Tensor, truths: Tensor, weighted_f: bool = True) -> list[ImageScores]:
    """Scores saliency maps against their ground truths, as `samsod.evaluation.metrics.saliency.score_image` does.

    The figures are the same to rounding, the weighted F-measure to 1e-8. Nothing waits for the device but the one
    copy at the end, and one more for a map on which the reference's order of summation decides. With the weighted
    F-measure about sixty bytes are needed for each pixel. On a CPU `score_image` is faster.

    Args:
        predictions: uint8, B×H×W, on any device that has float64.
        truths: bool, B×H×W, on the same.
        weighted_f: Compute the weighted F-measure, which takes longest.

    Returns:
        The scores of every image, in order, on the host.

    Raises:
        ValueError: The tensors are of other types, differ in shape or hold no pixel.
    """
    _check(predictions, truths)
    if not len(predictions):
        return []
    with torch.inference_mode():
        rows = _rows(predictions, truths, weighted_f).cpu().numpy()
    return [_scores(row, prediction) for row, prediction in zip(rows, predictions, strict=True)]


def _rows(predictions: Tensor, truths: Tensor, weighted_f: bool) -> Tensor:
    """All that the host needs of each image, float64 B×(2 + 2048 + 2): the cut, the counts, the weighted errors."""
    cuts = _cuts(truths)
    parts = [cuts.double(), _counts(predictions, truths, cuts).double()]
    if weighted_f:
        parts.append(_weighted_errors(_normalised(predictions), truths))
    return torch.cat(parts, dim=1)


def _scores(row: np.ndarray, prediction: Tensor) -> ImageScores:
    """The scores of one image from what came back for it."""
    cut, (counts, errors) = row[:2].astype(int), np.split(row[2:], [2048])
    counts = counts.astype(np.int64).reshape(2, 2, 2, 256)
    levels = normalised_levels(counts.sum(axis=(0, 1, 2)))
    wf = None
    if errors.size:
        positives = int(counts[:, :, 1].sum())
        wf = from_errors(positives, float(errors[0]), float(errors[1])) if positives else 0.0
    return score_histograms(counts, (int(cut[0]), int(cut[1])), lambda: levels[prediction.cpu().numpy()], wf)


def _cuts(truths: Tensor) -> Tensor:
    """Row and column right after each truth's centroid, int64 B×2; see `histograms.centroid_cut`."""
    sums = []
    for axis in (2, 1):
        counts = truths.sum(axis)
        sums.append((counts * torch.arange(counts.shape[1], device=counts.device)).sum(1))
    positives = truths.sum((1, 2)).clamp(min=1)
    # float64 divides and rounds as Python does, halves to even.
    return torch.stack([(total.double() / positives).round().long() + 1 for total in sums], dim=1)


def _counts(predictions: Tensor, truths: Tensor, cuts: Tensor) -> Tensor:
    """Pixels by row half, column half, truth and grey level, int32 B×2048; see `histograms.score_histograms`."""
    (images, height, width), device = predictions.shape, predictions.device
    rows = torch.arange(height, device=device) >= cuts[:, :1]
    columns = torch.arange(width, device=device) >= cuts[:, 1:]
    # In 32 bits, and without mixing types, which is several times slower on a CPU.
    index = predictions.int()
    index += truths.int() * 256
    index += columns.int()[:, None] * 512
    index += rows.int()[:, :, None] * 1024
    counts = torch.zeros(images, 2048, dtype=torch.int32, device=device)
    one = torch.ones((), dtype=torch.int32, device=device)
    return counts.scatter_add_(1, index.flatten(1).long(), one.expand(images, height * width))


def _normalised(predictions: Tensor) -> Tensor:
    """The maps stretched to [0, 1] by their own minimum and maximum, constant ones divided by 255; float64 B×H×W."""
    low, high = predictions.amin((1, 2)).double() / 255, predictions.amax((1, 2)).double() / 255
    constant = low == high
    low, span = torch.where(constant, 0, low), torch.where(constant, 1, high - low)
    return (predictions.double() / 255 - low[:, None, None]) / span[:, None, None]


def _weighted_errors(values: Tensor, truths: Tensor) -> Tensor:
    """Sums of the eased errors inside the truths and of the weighted errors outside, float64 B×2.

    See `samsod.evaluation.metrics.weighted_f.weighted_f_measure`.
    """
    error = torch.where(truths, 1 - values, values)
    missed = torch.minimum(error, _smoothed(_spread(error, truths))) * truths
    importance = 2 - torch.exp2(_squared_distance(truths).double().sqrt_().div_(-5))
    false_alarms = error * importance * ~truths
    return torch.stack([missed.sum((1, 2)), false_alarms.sum((1, 2))], dim=1)


def _squared_distance(truths: Tensor) -> Tensor:
    """Squared distance of every pixel to the nearest true one, int32 B×H×W; exact up to `FAR`², beyond never less."""
    height, width = truths.shape[1:]
    row = torch.arange(height, dtype=torch.int32, device=truths.device)[:, None]
    none = 4 * FAR + height
    above = torch.where(truths, row, -none).cummax(1).values
    below = torch.where(truths, row, none).flip(1).cummin(1).values.flip(1)
    drop = torch.minimum(row - above, below - row).clamp_(max=2 * FAR).square_()
    best = drop.clone()
    for across in range(1, min(FAR, width - 1) + 1):
        left, right = best[..., across:], best[..., :-across]
        torch.minimum(left, drop[..., :-across] + across**2, out=left)
        torch.minimum(right, drop[..., across:] + across**2, out=right)
    return best


def _spread(error: Tensor, truths: Tensor) -> Tensor:
    """The error of the nearest true pixel where smoothing will look for one; see `distance.spread_outwards`."""
    height, width = error.shape[1:]
    padded_error, padded_truths = (pad(tensor, (MARGIN,) * 4) for tensor in (error, truths))
    offsets = product(range(-MARGIN, MARGIN + 1), repeat=2)
    spread = torch.zeros_like(error)
    # From the farthest to the nearest, and of equals to the leftmost and upper one, which stays.
    for right, down in sorted(offsets, key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, *offset), reverse=True):
        if right**2 + down**2 <= 2 * REACH**2:
            there = (..., slice(MARGIN + down, MARGIN + down + height), slice(MARGIN + right, MARGIN + right + width))
            spread = torch.where(padded_truths[there], padded_error[there], spread)
    return spread


def _smoothed(images: Tensor) -> Tensor:
    """The weighted F-measure's Gaussian, zeros beyond the border."""
    for axis in (1, 2):
        length = images.shape[axis]
        padded = pad(images, (0, 0, REACH, REACH) if axis == 1 else (REACH, REACH))
        images = torch.zeros_like(images)
        for start, weight in enumerate(KERNEL.tolist()):
            images.add_(padded.narrow(axis, start, length), alpha=weight)
    return images


def _check(predictions: Tensor, truths: Tensor) -> None:
    if predictions.dtype != torch.uint8 or predictions.ndim != 3:
        raise ValueError(f"predictions must be uint8 BxHxW, got {predictions.dtype} of shape {(*predictions.shape,)}")
    if truths.dtype != torch.bool:
        raise ValueError(f"truths must be bool, got {truths.dtype}")
    if truths.shape != predictions.shape:
        shapes = f"{(*predictions.shape,)} and {(*truths.shape,)}"
        raise ValueError(f"predictions and truths differ in shape: {shapes}")
    if not predictions[:1].numel() and len(predictions):
        raise ValueError(f"predictions and truths are empty: shape {(*predictions.shape,)}")
