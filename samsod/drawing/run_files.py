"""What a run and its test left on disk, read for the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from samsod.config import Config, load_config
from samsod.config.settings import settings
from samsod.drawing.run_curves import Rows, read_run
from samsod.evaluation.metrics.saliency import Results
from samsod.utils.errors import UserError
from samsod.utils.files import read_json
from samsod.utils.maps import FINAL

METRICS = "metrics by data set, as tools/test_net.py writes them"


@dataclass(frozen=True)
class RunFiles:
    """The output folder of tools/train_net.py: its config, the rows and the lines it logged, where its test lies.

    `test` is None, and `results` empty, when the run was not tested.
    """

    folder: Path
    config: Config
    rows: Rows
    log: list[str]
    test: Path | None
    results: Results

    @property
    def name(self) -> str:
        """What the report calls the run."""
        return self.folder.resolve().name

    def changed_settings(self) -> list[tuple[str, Any, Any]]:
        """Key, value and default of every setting that is not at its default."""
        here, default = settings(asdict(self.config)), settings({})
        return [(key, value, default.get(key)) for key, value in here.items() if value != default.get(key)]


def open_run(folder: Path, test: Path | None = None) -> RunFiles:
    """Reads a run and its test.

    Args:
        folder: The run's folder.
        test: The folder of tools/test_net.py; by default the run's own or its `test/`, when one holds results.

    Raises:
        UserError: No run there, or a file of it or of the test cannot be used.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the output folder of tools/train_net.py")
    rows = read_run(folder)
    config = load_config(folder / "config.yaml")
    log = folder / "log.txt"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    if test is None:
        test = next((place for place in (folder / "test", folder) if (place / "results.json").is_file()), None)
    return RunFiles(folder, config, rows, lines, test, read_results(test) if test else {})


def read_results(folder: Path) -> Results:
    """The results of a test by map name: those of the streams too when they were scored.

    Raises:
        UserError: There are none, or they are damaged.
    """
    final = read_json(folder / "results.json", METRICS)
    streams = folder / "streams.json"
    results = read_json(streams, METRICS) if streams.is_file() else {}
    # Streams of an earlier test may lie beside newer results.
    results = results if results.get(FINAL) == final else {FINAL: final}
    for by_set in results.values():
        if not isinstance(by_set, dict) or not all(isinstance(scores, dict) for scores in by_set.values()):
            raise UserError(f"{folder / 'results.json'}: expected {METRICS}")
    return results
