"""What is summed up between two log lines, and the lines it becomes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from samsod.surgery.diagnostics import Diagnostics, gradient_ratios
from samsod.utils.machine import peak_memory_gib
from samsod.utils.progress import duration


@dataclass
class Meter:
    """Sums over the steps since the last log line; losses and conflicts stay on the device until they are read."""

    steps: int = 0
    waited: float = 0.0
    started: float = field(default_factory=time.monotonic)
    losses: dict[str, Tensor] = field(default_factory=dict)
    conflicts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, losses: Mapping[str, Tensor], diagnostics: Diagnostics, waited: float) -> None:
        """Adds one step: its losses (means over the ranks), its conflicts, the seconds it waited for data."""
        self.steps += 1
        self.waited += waited
        for sums, values in ((self.losses, losses), (self.conflicts, diagnostics.conflicts())):
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value

    def row(self, diagnostics: Diagnostics, modalities: Sequence[str], loss_scale: float) -> dict[str, Any]:
        """What metrics.jsonl holds of the steps' losses and of the last one's gradients; this waits for the device."""
        losses, conflicts = (
            {name: float(total) / self.steps for name, total in sums.items()} for sums in (self.losses, self.conflicts)
        )
        groups = diagnostics.read()
        return {
            "loss": sum(losses.values()),
            "losses": losses,
            "conflicts": conflicts,
            "groups": {name: group._asdict() for name, group in groups.items()},
            "gradient_ratios": gradient_ratios(groups, modalities),
            "loss_scale": loss_scale,
        }

    def speed(self, batch_size: int, steps_left: int, device: torch.device) -> dict[str, float]:
        """What metrics.jsonl holds of the speed and the memory."""
        seconds = time.monotonic() - self.started
        return {
            "images_per_second": self.steps * batch_size / seconds,
            "data_wait": self.waited / seconds,
            "peak_memory_gib": peak_memory_gib(device),
            "eta_seconds": seconds / self.steps * steps_left,
        }


def log_line(row: Mapping[str, Any], total_steps: int) -> str:
    """One row of metrics.jsonl as a line for people."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in row["losses"].items())
    conflicts = " ".join(f"{name} {share:.0%}" for name, share in row["conflicts"].items())
    ratios = " ".join(f"{pair} {ratio:.2f}" for pair, ratio in row["gradient_ratios"].items() if ratio is not None)
    scale = f"scale {row['loss_scale']:.0f} | " if row["loss_scale"] != 1 else ""
    return (
        f"step {row['step']}/{total_steps} epoch {row['epoch']:.2f} | loss {row['loss']:.3f} ({losses}) | "
        f"lr {row['lr']:.2e} | {'conflicts ' + conflicts + ' | ' if conflicts else ''}"
        f"{'ratio ' + ratios + ' | ' if ratios else ''}{scale}"
        f"{row['images_per_second']:.3g} img/s data {row['data_wait']:.0%} mem {row['peak_memory_gib']:.1f} GiB | "
        f"eta {duration(row['eta_seconds'])}"
    )


def validation_line(step: int, scores: Mapping[str, float], improved: bool) -> str:
    """The scores of an evaluation as a line for people."""
    figures = " ".join(f"{name} {scores[name]:.4f}" for name in ("S", "maxF", "maxE", "MAE"))
    return f"step {step}: validation on {scores['images']} images: {figures}{' (best so far)' if improved else ''}"
