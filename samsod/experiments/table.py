"""A table to be made: its file, its rows, and what is compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from samsod.config.yaml_tree import Faults, build, read_tree
from samsod.evaluation.metrics.choice import chosen_columns
from samsod.evaluation.tables.reported import reported_row, reported_rows
from samsod.utils.errors import UserError, nearest


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
    optional: bool = False
    """leave it out, and say so, when a package its gradient rule needs is missing"""

    def check(self) -> Faults:
        """Yields (key, message) for a name that is no folder's: the row's runs lie below it."""
        if Path(self.name).name != self.name or self.name.startswith(".") or not self.name.isprintable():
            yield "name", f"expected a plain name without slashes, found {self.name!r}"
        elif not self.name:
            yield "name", "expected a name for the folder of its runs"


@dataclass
class CompareConfig:
    """Two rows whose differences are shown seed by seed."""

    first: str = ""
    """name of a row"""
    second: str = ""
    """name of the row that is subtracted"""
    label: str = ""
    """what is asked, for instance what the first has and the second has not"""


@dataclass
class TableConfig:
    """A table to be made: its rows, and what is shown of them."""

    title: str = ""
    """the table's heading"""
    reported: str = ""
    """which of the paper's tables the rows stand beside (table1 to table6); empty: none"""
    metrics: list[str] = field(default_factory=lambda: ["S", "maxF", "maxE", "MAE"])
    """the columns of every data set"""
    cost: bool = False
    """also show parameters, multiply-adds, speed and memory"""
    step_cost: bool = False
    """also show the milliseconds of a training step"""
    streams: bool = False
    """also show the scores of the single streams, of runs that were tested with `test.streams`"""
    rows: list[RowConfig] = field(default_factory=list)
    """the rows, in order"""
    compare: list[CompareConfig] = field(default_factory=list)
    """pairs of rows whose differences are shown below the table"""

    def check(self) -> Faults:
        """Yields (key, message) for rows that cannot be told apart, and for what cannot be shown of them."""
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            yield "rows", f"expected a name of its own for every row, found {', '.join(names)}"
        for i, pair in enumerate(self.compare):
            for key, name in (("first", pair.first), ("second", pair.second)):
                if name not in names:
                    yield f"compare.{i}.{key}", f"no row is called {name!r}{nearest(name, names)}"
            if pair.first == pair.second:
                yield f"compare.{i}", f"expected two rows, found {pair.first!r} twice"
        if not self.metrics:
            yield "metrics", "expected at least one"
        yield from _told_by(chosen_columns, self.metrics, key="metrics")
        beside = [row.reported for row in self.rows if row.reported]
        unknown = list(_told_by(reported_rows, self.reported, key="reported")) if beside or self.reported else []
        yield from unknown
        for name in beside * (not unknown):
            yield from _told_by(reported_row, self.reported, name, key="rows")


def find_table(name: str, folder: Path) -> Path:
    """The file of a table: one of the folder by name, or a file of the user's own.

    Raises:
        UserError: No such table; the line lists those there are.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.yaml")) if _has_rows(path)}
    if name in known:
        return known[name]
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    raise UserError(f"no table is called {name!r}{nearest(name, known)}; known: {', '.join(known)}, or a file of yours")


def _has_rows(path: Path) -> bool:
    """Whether a file of the folder is a table's, not a row's."""
    return re.search("^rows:", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def read_table(path: Path) -> TableConfig:
    """Reads a table's file.

    Raises:
        UserError: One line per fault.
    """
    faults: list[str] = []
    tree = read_tree(path, faults)
    if not ("rows" in tree.value and tree.value["rows"].value):
        raise UserError(f"{path}: not a table: it has no rows; expected a file like configs/experiments/table3.yaml")
    table = build(TableConfig, tree, faults)
    if faults:
        raise UserError(*faults)
    return replace(table, metrics=chosen_columns(table.metrics))


def _told_by(check: Callable[..., object], *arguments: object, key: str) -> Faults:
    """What a check that raises has to say, as a fault of the key."""
    try:
        check(*arguments)
    except UserError as error:
        yield key, str(error)
