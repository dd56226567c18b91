"""What a run says: log.txt and the terminal, and metrics.jsonl."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from samsod.utils import distributed
from samsod.utils.files import write_text
from samsod.utils.trees import flat


class RunLog:
    """Lines for people and rows for programs, written by rank 0 only.

    Args:
        folder: The run's folder; None writes to the terminal only.
        tensorboard: Also write the rows' figures for TensorBoard, into the folder's `tensorboard/`.
        step: The step the run goes on from: TensorBoard forgets what comes after it.
    """

    def __init__(self, folder: Path | None, tensorboard: bool = False, step: int = 0) -> None:
        self.folder = folder if distributed.is_main() else None
        self._board: Any = None
        if self.folder and tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1 if step else None)

    def line(self, text: str) -> None:
        """Appends a line, with the time, to log.txt and prints it, as long as anybody reads."""
        if distributed.is_main():
            self.note(text)
            try:
                print(text, flush=True)
            except BrokenPipeError:  # as of `| head`; what is printed from now on goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def note(self, text: str) -> None:
        """Appends a line, with the time, to log.txt alone."""
        if self.folder:
            with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def row(self, values: dict[str, Any]) -> None:
        """Appends one JSON object to metrics.jsonl; figures that are not finite become null."""
        if self.folder:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(values), allow_nan=False) + "\n")
        if self._board:
            for name, value in flat(values).items():
                if isinstance(value, (int, float)) and name != "step":
                    self._board.add_scalar(name.replace(".", "/"), value, values["step"])
            self._board.flush()

    def forget_after(self, step: int, evaluated_step: int) -> None:
        """Drops the rows of steps that a resumed run takes again, and of evaluations it makes again."""
        path = self.folder / "metrics.jsonl" if self.folder else None
        if path is None or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= (evaluated_step if '"validation"' in line else step)]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize  # a row cut off by a crash
