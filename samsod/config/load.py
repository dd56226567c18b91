"""Config files and command-line settings read into a `Config`, and a config written as YAML."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from samsod.config.schema import WEIGHTS_FILES, Config
from samsod.config.yaml_text import Located
from samsod.config.yaml_tree import FAULTS_SHOWN, apply_override, build, merge, read_tree
from samsod.utils.errors import UserError
from samsod.utils.files import expanded


def load_config(path: str | Path | Sequence[str | Path], overrides: Sequence[str] = ()) -> Config:
    """Reads a config file, or several, each laid over those before it; then the overrides, `key.path=value`.

    Everything is checked.

    Raises:
        UserError: One line per fault: unknown keys with the nearest known one, wrong types, duplicates, ranges.
    """
    faults: list[str] = []
    paths = [path] if isinstance(path, (str, Path)) else path
    tree = functools.reduce(merge, (read_tree(Path(item), faults) for item in paths))
    for override in overrides:
        apply_override(tree, override, faults)
    config = build(Config, tree, faults)
    if faults:
        more = [f"and {len(faults) - FAULTS_SHOWN} more faults"] if len(faults) > FAULTS_SHOWN else []
        raise UserError(*faults[:FAULTS_SHOWN], *more)
    config.output, config.train.resume = expand(config.output), expand(config.train.resume)
    for key in WEIGHTS_FILES:
        setattr(config.model, key, expand(getattr(config.model, key)))
    return config


def stored_config(tree: Any, where: str) -> Config:
    """A config from nested mappings, as checkpoints hold it; what an older version's lacks has its default.

    Raises:
        UserError: It holds an unknown key or a value of a wrong type; one line for each, naming `where`.
    """
    faults: list[str] = []
    config = build(Config, _located(tree, where), faults)
    if faults:
        raise UserError(*faults[:FAULTS_SHOWN])
    return config


def _located(value: Any, where: str) -> Located:
    if isinstance(value, dict):
        return Located({key: _located(item, where) for key, item in value.items()}, where)
    return Located([_located(item, where) for item in value] if isinstance(value, list) else value, where)


def expand(path: str) -> str:
    """A path with `~` resolved, and everything else as it was written."""
    return str(expanded(path)) if path.startswith("~") else path


def to_yaml(config: Any, docs: bool = False) -> str:
    """The config as YAML that `load_config` reads back to an equal one; with `docs` every key is explained."""
    return "\n".join(_yaml_lines(config, docs, "", set())) + "\n"


def _yaml_lines(config: Any, docs: bool, indent: str, explained: set[type]) -> Iterator[str]:
    notes = _field_docs(type(config)) if docs else {}
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if name in notes:
            yield f"{indent}# {notes[name]}"
        if dataclasses.is_dataclass(value):
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, docs, indent + "  ", explained)
            continue
        (*_, entry) = typing.get_args(hint) or (None,)
        if docs and dataclasses.is_dataclass(entry) and entry not in explained:
            explained.add(typing.cast(type, entry))
            notes_below = _field_docs(typing.cast(type, entry)).items()
            yield from (f"{indent}#   each with {key}: {note}" for key, note in notes_below)
        yield f"{indent}{name}: {_json(value)}"


def _json(value: Any) -> str:
    """A value as JSON that YAML reads back: its quoted strings cannot be taken for numbers.

    What is not ASCII is escaped as YAML does it. JSON would write one character as two surrogates, which YAML takes
    for two; and there are names of files that hold a surrogate alone, as they are no UTF-8.
    """
    text = json.dumps(value, default=dataclasses.asdict, ensure_ascii=False)
    return text.encode("ascii", "backslashreplace").decode("ascii").replace("\x7f", r"\x7f")


def _field_docs(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name) and isinstance(following.value, ast.Constant)
            docs[statement.target.id] = " ".join(str(following.value.value).split())
    return docs
