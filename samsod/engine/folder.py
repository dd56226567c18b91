"""The output folder of a run: held by one run at a time, and what may be written there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from samsod.config import Config, load_config, to_yaml
from samsod.engine.run_state import STATE, RunState, write_state
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import check_writable, locked, write_text

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

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs out of the folder while the block runs; it is made when it is not there.

        Raises:
            UserError: On all ranks: another process works in it, it cannot be written to, or a file is in the way.
        """
        with contextlib.ExitStack() as stack:
            distributed.on_main(lambda: self._take(stack))
            yield

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

    def _take(self, stack: contextlib.ExitStack) -> None:
        for folder in (self.path, self.checkpoints):
            _check_link(folder)
            check_writable(folder)
        for name in FILES:
            _check_link(self.path / name)
            _check_file(self.path / name)
        self._check_config()
        stack.enter_context(locked(self.path))

    def _check_config(self) -> None:
        """Refuses to overwrite a config.yaml of the user's own, unless it says the same."""
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


def _check_link(path: Path) -> None:
    """Raises UserError when a name is a link that leads nowhere."""
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path}: is a link to {path.readlink()}, which is not there")


def _check_file(path: Path) -> None:
    """Raises UserError when a file could not be written because something else is there."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a file")
    if path.exists():
        try:
            path.open("ab").close()
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None
