"""What a step's gradients say about each other: cosines, norms, conflicts, ratios (paper Fig. 3 and 4)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class GroupDiagnostics(NamedTuple):
    """Figures of one group: cosine of every pair of losses (Fig. 4), norm of each, norm of their sum."""

    cosines: dict[str, float]
    norms: dict[str, float]
    total_norm: float


@dataclass(frozen=True)
class Diagnostics:
    """The Gram matrices of one step, left on the device until they are read.

    Attributes:
        grams: Per group the Gram matrix `[m,m]`, float64.
        losses: Per group the names of its rows.
    """

    grams: Mapping[str, Tensor]
    losses: Mapping[str, tuple[str, ...]]

    def conflicts(self) -> dict[str, Tensor]:
        """Per group the share of conflicting pairs, left on the device; groups of a single row are left out."""
        shares = {}
        for name, gram in self.grams.items():
            count = len(gram)
            if count > 1:
                shares[name] = (gram < 0).sum() / (count * (count - 1))
        return shares

    def read(self) -> dict[str, GroupDiagnostics]:
        """Per group its figures; this waits for the device."""
        return {name: _figures(gram.cpu(), self.losses[name]) for name, gram in self.grams.items()}


def gradient_ratios(figures: Mapping[str, GroupDiagnostics], modalities: Sequence[str]) -> dict[str, float | None]:
    """Ratios of the summed gradients' norms of every two modalities' adapters (Fig. 3: `rgb/thermal`).

    Args:
        figures: Figures by group.
        modalities: The modalities in order; those without a group `<modality>_adapter` are passed over.

    Returns:
        `first/second` -> ratio, None where the second's gradient is zero.
    """
    norms = {name: figures[f"{name}_adapter"].total_norm for name in modalities if f"{name}_adapter" in figures}
    pairs = itertools.combinations(norms, 2)
    return {f"{a}/{b}": norms[a] / norms[b] if norms[b] > 0 else None for a, b in pairs}


def _figures(gram: Tensor, losses: Sequence[str]) -> GroupDiagnostics:
    norms = gram.diagonal().clamp_min(0).sqrt()
    cosines = {}
    for i, j in itertools.combinations(range(len(losses)), 2):
        length = norms[i] * norms[j]
        cosines[f"{losses[i]}-{losses[j]}"] = float(gram[i, j] / length) if length != 0 else 0.0
    total = float(gram.sum().clamp_min(0).sqrt())
    return GroupDiagnostics(cosines, dict(zip(losses, norms.tolist(), strict=True)), total)
