"""Which runs a table takes, and which of them are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from samsod.config import Config, load_config
from samsod.config.settings import changes, within
from samsod.experiments.same_data import data_digest, encoder_digest
from samsod.experiments.table import RowConfig, TableConfig
from samsod.registry import import_user_modules
from samsod.utils.errors import UserError

NEUTRAL = (
    *("output", "imports", "data.workers", "data.cache", "data.cache_gib", "data.cache_dir"),
    *("train.log_every", "train.tensorboard", "train.keep", "train.resume", "engine.device"),
)
"""Settings that do not make another run of it."""
DATA_ROOT = "data.root"
TESTING = ("data.test", "test")
"""Settings that only the test depends on: with others a trained run is tested anew."""


@dataclass(frozen=True)
class Run:
    """One training and test: a row of a table with one seed."""

    row: RowConfig
    config: Config

    @property
    def folder(self) -> Path:
        """Where it lies: config.yaml, log.txt, checkpoints/, test/."""
        return Path(self.config.output)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.row.name} seed {self.config.seed}"

    @property
    def results(self) -> Path:
        """The file its results are in when it is finished."""
        return self.folder / "test" / "results.json"

    @property
    def streams(self) -> Path:
        """The file with the results of its single streams; absent when they were not asked for."""
        return self.folder / "test" / "streams.json"

    @property
    def maps(self) -> Path:
        """The folder of its maps, one below it for each test set."""
        return self.folder / "test" / "maps"

    @property
    def cost(self) -> Path:
        """The file with its row's parameters, multiply-adds, speed and memory."""
        return self.folder.parent / "cost.json"

    @property
    def finished_mark(self) -> Path:
        """The config the run was finished with; absent before."""
        return self.folder / "finished.yaml"

    @property
    def data_mark(self) -> Path:
        """The file that tells whether data sets are those it was trained on, by their `data_digest`."""
        return self.folder / "data.sha256"

    @property
    def encoder_mark(self) -> Path:
        """The file that tells whether the encoder's file is the one it was trained on, by its `encoder_digest`."""
        return self.folder / "encoder.sha256"

    def finished(self) -> bool:
        """Whether it was trained and tested with these very settings."""
        return self.results.is_file() and not self._differing(self.finished_mark)

    def state(self) -> str:
        """What there is of it, in words."""
        from samsod.engine.checkpoint import newest  # brings PyTorch along, and faults in a plan need none

        if self.finished():
            return "finished"
        checkpoint = newest(self.folder / "checkpoints")
        return f"goes on from step {int(checkpoint.stem.rpartition('_')[2])}" if checkpoint else "new"

    def check(self) -> None:
        """Raises UserError when its folder holds a run with other settings, which would be mixed up with this one."""
        stored = self.folder / "config.yaml"
        differing = self._differing(stored) if stored.is_file() else {}
        if changed := [line for key, line in differing.items() if not within(key, TESTING)]:
            raise UserError(
                f"{self.folder}: holds a run with other settings ({'; '.join(changed)}); choose another --output"
            )

    def _differing(self, stored: Path) -> dict[str, str]:
        """By key how the settings differ from those of a file; of data and the encoder's file what they hold counts."""
        if not stored.is_file():
            return {"": "no run"}
        changed = changes(asdict(load_config(stored)), asdict(self.config))
        changed = {key: line for key, line in changed.items() if not within(key, NEUTRAL)}
        if DATA_ROOT in changed:
            digest = data_digest(self.config)
            if digest and self.data_mark.is_file() and self.data_mark.read_text(encoding="utf-8") == digest:
                del changed[DATA_ROOT]
            else:
                changed[DATA_ROOT] += " with other files"
        key = f"model.{self.config.model.base_key}"
        if self.encoder_mark.is_file() and (digest := encoder_digest(self.config)):
            if self.encoder_mark.read_text(encoding="utf-8") == digest:
                changed.pop(key, None)
            else:
                changed.setdefault(key, f"{key}={self.config.model.base} was written anew")
        return changed


def plan_runs(
    table: TableConfig,
    path: Path,
    overlays: Sequence[Path],
    overrides: Sequence[str],
    seeds: Sequence[int],
    output: Path,
) -> list[Run]:
    """Every run the table takes, seed by seed, so that a first full table is there early.

    Args:
        table: The table.
        path: Its file; the rows' configs are relative to it.
        overlays: Config files laid over every row's own.
        overrides: `key.path=value` laid over these.
        seeds: The seeds of every row.
        output: Folder of all runs.

    Raises:
        UserError: A config has a fault, or a folder holds a run with other settings. One line per fault.
    """
    runs, faults = [], []
    for key in ("seed", "output"):
        if any(override.startswith(f"{key}=") for override in overrides):
            faults.append(f"{key} is every run's own: use --{'seeds' if key == 'seed' else key}")
    for seed in seeds:
        for row in table.rows:
            try:
                config = load_config([path.parent / row.config, *overlays], overrides)
                run = Run(row, replace(config, seed=seed, output=str(output / row.name / f"seed{seed}")))
                run.check()
                runs.append(run)
            except UserError as error:
                faults += error.args
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return runs


def leave_out_missing(table: TableConfig, runs: Sequence[Run]) -> tuple[TableConfig, list[Run], list[str]]:
    """The table and its runs without the optional rows whose gradient rule lacks a package, and a line for each row.

    Raises:
        UserError: A rule cannot be built for another reason, or no row is left.
    """
    import samsod.surgery.rules  # noqa: F401  brings PyTorch along; fills the registry
    from samsod.surgery.rules.rule import MissingPackage, build_rule

    lines: dict[str, str] = {}
    for run in runs:
        if run.row.optional and run.row.name not in lines:
            import_user_modules(run.config.imports)
            try:
                build_rule(run.config.engine.gradient_rule)
            except MissingPackage as missing:
                lines[run.row.name] = f"left out {run.row.name}: {missing}"
    if not any(run.row.name not in lines for run in runs):
        raise UserError(*lines.values())
    compared = [pair for pair in table.compare if not {pair.first, pair.second} & lines.keys()]
    left = replace(table, rows=[row for row in table.rows if row.name not in lines], compare=compared)
    return left, [run for run in runs if run.row.name not in lines], list(lines.values())
