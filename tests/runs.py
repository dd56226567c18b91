"""Logs of runs that were never trained, for tests of what is drawn from them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

LOSSES: dict[str, tuple[str, ...]] = {
    "rgb_adapter": ("fusion", "rgb"),
    "thermal_adapter": ("fusion", "thermal"),
    "decoder": ("fusion", "rgb", "thermal"),
}


def write_run(folder: Path, steps: int = 30, losses: dict[str, tuple[str, ...]] | None = None) -> Path:
    """Writes a metrics.jsonl as training does, with the losses that reach each group; returns `folder`."""
    losses = LOSSES if losses is None else losses
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(steps)
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        groups = {}
        for name, reached in losses.items():
            pairs = [f"{a}-{b}" for a, b in combinations(reached, 2)]
            groups[name] = {"cosines": {pair: float(rng.uniform(-1, 1)) for pair in pairs}}
        adapters = [name.removesuffix("_adapter") for name in losses if name.endswith("_adapter")]
        pairs = [f"{a}/{b}" for a, b in combinations(adapters, 2)]
        ratios = dict.fromkeys(pairs, None if step == 3 else 1.5)
        rows.append({"step": step, "epoch": step / 10, "loss": 5 / step, "gradient_ratios": ratios, "groups": groups})
        if step % 10 == 0:
            rows.append({"step": step, "validation": {"S": step / 100, "MAE": 0.1}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
