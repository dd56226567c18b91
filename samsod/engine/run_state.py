"""How far a run is, in a file of its own: `state.json` in the output folder, for programs that watch or repeat runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from samsod.utils.files import write_text

STATE = "state.json"


@dataclass(frozen=True)
class RunState:
    """What a training run is doing, or how it ended.

    A run that was killed leaves `training` behind: whether it still trains, its folder's lock tells.
    """

    state: Literal["training", "finished", "stopped", "failed"]
    """`stopped`: asked to, and saved; `failed`: ended by an error"""
    step: int
    """optimizer steps taken"""
    steps: int
    """optimizer steps of the whole run"""


def write_state(folder: Path, state: RunState) -> None:
    """Writes the state, whole or not at all."""
    write_text(folder / STATE, json.dumps(asdict(state)) + "\n")


def read_state(folder: Path) -> RunState | None:
    """The state of the run in a folder; None when there is none that can be read."""
    try:
        return RunState(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
