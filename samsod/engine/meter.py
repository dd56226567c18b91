"""What is summed up between two log lines, and the line it becomes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from samsod.surgery.hook import Diagnostics
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

    def mean_losses(self) -> dict[str, float]:
        """Mean of each loss over the steps; this waits for the device."""
        return {name: float(total) / self.steps for name, total in self.losses.items()}

    def mean_conflicts(self) -> dict[str, float]:
        """Per group the share of conflicting pairs over the steps; this waits for the device."""
        return {name: float(total) / self.steps for name, total in self.conflicts.items()}


def log_line(row: Mapping[str, Any], total_steps: int) -> str:
    """One row of metrics.jsonl as a line for people."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in row["losses"].items())
    conflicts = " ".join(f"{name} {share:.0%}" for name, share in row["conflicts"].items())
    ratio = f"ratio {row['gradient_ratio']:.2f} | " if row["gradient_ratio"] is not None else ""
    scale = f"scale {row['loss_scale']:.0f} | " if row["loss_scale"] != 1 else ""
    return (
        f"step {row['step']}/{total_steps} epoch {row['epoch']:.2f} | loss {row['loss']:.3f} ({losses}) | "
        f"lr {row['lr']:.2e} | {'conflicts ' + conflicts + ' | ' if conflicts else ''}{ratio}{scale}"
        f"{row['images_per_second']:.3g} img/s data {row['data_wait']:.0%} mem {row['peak_memory_gib']:.1f} GiB | "
        f"eta {duration(row['eta_seconds'])}"
    )
