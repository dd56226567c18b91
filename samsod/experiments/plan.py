"""Which runs a table takes, and which of them are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from samsod.config import Config, load_config
from samsod.config.yaml_tree import Faults, build, read_tree
from samsod.utils.errors import UserError, nearest
from samsod.utils.trees import flat

NEUTRAL = (
    *("output", "imports", "data.root", "data.workers", "data.cache", "data.cache_gib", "data.cache_dir"),
    *("train.log_every", "train.tensorboard", "train.keep", "train.resume", "engine.device"),
)
"""Settings that do not make another run of it."""
TESTING = ("data.test", "test")
"""Settings that only the test depends on: with others a trained run is tested anew."""


@dataclass
class RowConfig:
    """One row of a table, trained once for every seed."""

    name: str = ""
    """folder of its runs; rows of one name in several tables are the same runs"""
    label: str = ""
    """what the table calls it"""
    config: str = ""
    """its config file, relative to the table's"""
    reported: str = ""
    """the row of the paper's table it stands beside; empty: none"""


@dataclass
class TableConfig:
    """A table to be made: its rows, and what is shown of them."""

    title: str = ""
    """the table's heading"""
    reported: str = ""
    """which of the paper's tables holds the reported figures (table1 to table6); empty: none"""
    metrics: list[str] = field(default_factory=lambda: ["S", "maxF", "maxE", "MAE"])
    """the columns of every data set"""
    cost: bool = False
    """also show parameters, multiply-adds, speed and memory"""
    rows: list[RowConfig] = field(default_factory=list)
    """the rows, in order"""

    def check(self) -> Faults:
        """Yields (key, message) for rows that cannot be told apart."""
        names = [row.name for row in self.rows]
        if not names or not all(names):
            yield "rows", "expected at least one row, each with a name"
        if len(set(names)) < len(names):
            yield "rows", f"expected a name of its own for every row, found {', '.join(names)}"


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
    def cost(self) -> Path:
        """The file with its row's parameters, multiply-adds, speed and memory."""
        return self.folder.parent / "cost.json"

    @property
    def finished_mark(self) -> Path:
        """The config the run was finished with; absent before."""
        return self.folder / "finished.yaml"

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
        changed = [line for key, line in self._differing(self.folder / "config.yaml").items() if not _in(key, TESTING)]
        if changed and (self.folder / "config.yaml").is_file():
            raise UserError(
                f"{self.folder}: holds a run with other settings ({'; '.join(changed)}); choose another --output"
            )

    def _differing(self, stored: Path) -> dict[str, str]:
        if not stored.is_file():
            return {"": "no run"}
        before, now = (flat(asdict(config)) for config in (load_config(stored), self.config))
        return {
            key: f"{key} was {before.get(key)}, now {now.get(key)}"
            for key in {**before, **now}
            if before.get(key) != now.get(key) and not _in(key, NEUTRAL)
        }


def find_table(name: str, folder: Path) -> Path:
    """The file of a table: one of the folder by name, or a file of the user's own.

    Raises:
        UserError: No such table; the line lists those there are.
    """
    known = {path.stem: path for path in sorted(folder.glob("table*.yaml"))}
    if name in known:
        return known[name]
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    raise UserError(f"no table is called {name!r}{nearest(name, known)}; known: {', '.join(known)}, or a file of yours")


def read_table(path: Path) -> TableConfig:
    """Reads a table's file.

    Raises:
        UserError: One line per fault.
    """
    faults: list[str] = []
    tree = read_tree(path, faults)
    if "rows" not in tree.value:
        raise UserError(f"{path}: not a table: it has no rows; expected a file like configs/experiments/table3.yaml")
    table = build(TableConfig, tree, faults)
    if faults:
        raise UserError(*faults)
    return table


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


def _in(key: str, settings: Sequence[str]) -> bool:
    return any(key == setting or key.startswith(f"{setting}.") for setting in settings)
