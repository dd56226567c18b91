"""The output folder of a run: held by one run at a time, and what may be written there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from samsod.config import Config, load_config, to_yaml
from samsod.engine.run_state import STATE, RunState, write_state
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import check_file_writable, check_writable, write_text

MARK = "# written by samsod: all settings of the run in this folder\n"
"""First line of a config.yaml that samsod may replace."""
FILES = ("config.yaml", "log.txt", "metrics.jsonl", STATE)


class RunFolder:
    """The folder `output` of a config, written by rank 0 only.

    Args:
        config: The run's config.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.path = Path(config.output)
        self.checkpoints = self.path / "checkpoints"

    def held(self) -> AbstractContextManager[None]:
        """Keeps other runs out of the folder while the block runs; it is made when it is not there.

        Raises:
            UserError: On all ranks: another process works in it, it cannot be written to, or a file is in the way.
        """
        return distributed.held(self.path, self._check)

    def prepare(self) -> None:
        """Makes what a run needs and writes its config."""
        if not distributed.is_main():
            return
        self.checkpoints.mkdir(exist_ok=True)
        for rest in self.checkpoints.glob(".*.partial"):  # of a save that was cut off
            rest.unlink()
        path = self.path / "config.yaml"
        if not path.is_file() or self._replaceable(path.read_text(encoding="utf-8")):
            write_text(path, MARK + to_yaml(self.config))

    def write_state(self, state: RunState) -> None:
        """Writes how far the run is."""
        if distributed.is_main():
            write_state(self.path, state)

    def _check(self) -> None:
        """Refuses what is in the way, and to overwrite a config.yaml of the user's own, unless it says the same."""
        check_writable(self.path)
        check_writable(self.checkpoints)
        for name in FILES:
            check_file_writable(self.path / name, appended=True)
        path = self.path / "config.yaml"
        if not path.is_file() or self._replaceable(path.read_text(encoding="utf-8", errors="replace")):
            return
        try:
            same = load_config(path) == self.config
        except UserError:
            same = False
        if not same:
            raise UserError(
                f"{path}: is not samsod's to overwrite with the settings of this run; move it, or choose another output"
            )

    def _replaceable(self, text: str) -> bool:
        return text.startswith(MARK) or text == to_yaml(self.config)
