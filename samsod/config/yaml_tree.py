"""Reads YAML files and command-line overrides into typed dataclasses, and reports every fault at once.

The YAML dialect is the core schema of YAML 1.2: `1e-4` is a number, `010` is ten, `yes` is text, `12:30` is text,
and a key written twice is an error. (PyYAML's own loader reads all of these otherwise.)
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from samsod.utils.errors import UserError, nearest

T = TypeVar("T")
Faults = Iterator[tuple[str, str]]
"""What a config dataclass's `check` yields: (key, message) for every value out of range."""

BASE_KEY = "_base_"
COMMAND_LINE = "command line"
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass
class Located:
    """A value and where it was written (`file:line` or `command line`); mappings and lists hold `Located` values."""

    value: Any
    where: str

    def plain(self) -> Any:
        """The value without the locations."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


def read_tree(path: Path, faults: list[str], _seen: tuple[Path, ...] = (), _laid: set[Path] | None = None) -> Located:
    """Reads a config file with the files it inherits from (`_base_`, relative to the file; later ones win).

    A file that several of them inherit from counts once, below all of these: `[rgbd.yaml, tiny.yaml]` has the data of
    the one and the size of the other, though both start from base.yaml.
    """
    path, laid = Path(path), set() if _laid is None else _laid
    if path.resolve() in _seen:
        chain = " -> ".join(str(file) for file in (*_seen, path))
        raise UserError(f"{path}: {BASE_KEY} goes in a circle: {chain}")
    tree = _parse(_read_text(path), str(path), faults)
    if tree.value is None:
        tree = Located({}, str(path))
    if not isinstance(tree.value, dict):
        raise UserError(f"{path}: expected a mapping of config keys, found {_name_of(tree.value)}")
    bases = tree.value.pop(BASE_KEY, None)
    merged = Located({}, str(path))
    for base in _base_names(bases, path):
        if (path.parent / base).resolve() not in laid:
            merged = merge(merged, read_tree(path.parent / base, faults, (*_seen, path.resolve()), laid))
    laid.add(path.resolve())
    return merge(merged, tree)


def apply_override(tree: Located, override: str, faults: list[str]) -> None:
    """Sets one `key.path=value` in `tree`; list items are addressed by their index (`data.test.0.root=DIR`)."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        faults.append(f"{COMMAND_LINE}: {override!r} is not of the form key.path=value")
        return
    value = _parse(text, COMMAND_LINE, faults) if text.strip() else Located("", COMMAND_LINE)
    node = tree
    *parents, last = key.strip().split(".")
    for part in parents:
        child = _child(node, part)
        if child is None or not isinstance(child.value, (dict, list)):
            if not isinstance(node.value, dict):
                faults.append(f"{COMMAND_LINE}: {key}: there is no list item {part}")
                return
            child = node.value[part] = Located({}, COMMAND_LINE)
        node = child
    if isinstance(node.value, dict):
        node.value[last] = value
    elif last.isdigit() and int(last) < len(node.value):
        node.value[int(last)] = value
    else:
        faults.append(f"{COMMAND_LINE}: {key}: there is no list item {last}; the list has {len(node.value)}")


def merge(base: Located, over: Located) -> Located:
    """`over` laid on `base`: mappings key by key, everything else replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, item in over.value.items():
        merged[key] = merge(merged[key], item) if key in merged else item
    return Located(merged, over.where)


def build(kind: type[T], tree: Located, faults: list[str], prefix: str = "", root: type | None = None) -> T:
    """A dataclass from a tree; unknown keys, wrong types and failed checks are appended to `faults`."""
    root = root or kind
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, item in tree.value.items():
        path = f"{prefix}{key}"
        if key not in fields:
            faults.append(f"{item.where}: {path}: unknown key{_suggest(path, prefix, fields, root)}")
            continue
        before = len(faults)
        value = _convert(hints[key], item, path, faults, root)
        if len(faults) == before:
            values[key] = value
    result = kind(**values)
    _check(result, tree, prefix, faults)
    return result


def known_keys(kind: type, prefix: str = "") -> Iterator[str]:
    """Every dotted key a dataclass accepts, NAME standing for a key that is up to the user."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from known_keys(typing.cast(type, hint), f"{prefix}{name}.")
        elif get_origin(hint) is dict and dataclasses.is_dataclass(get_args(hint)[1]):
            yield from known_keys(get_args(hint)[1], f"{prefix}{name}.NAME.")
        else:
            yield f"{prefix}{name}"


def _check(result: Any, tree: Located, prefix: str, faults: list[str]) -> None:
    """Runs a dataclass's own `check()`, which yields (dotted key, message), files them where they were set."""
    for key, message in getattr(result, "check", lambda: ())():
        item: Located | None = tree
        for part in key.split("."):
            item = _child(item, part) if item else None
        where = item.where if item else "default"
        faults.append(f"{where}: {prefix}{key}: {message}")


def _suggest(path: str, prefix: str, fields: Iterable[str], root: type) -> str:
    near = nearest(path.rpartition(".")[2], fields)
    if near:
        return near.replace("mean '", f"mean '{prefix}")
    known = list(known_keys(root))
    same_leaf = [key for key in known if key.rpartition(".")[2] == path.rpartition(".")[2]]
    return f" (did you mean {same_leaf[0]!r}?)" if same_leaf else nearest(path, known)


def _convert(hint: Any, item: Located, path: str, faults: list[str], root: type) -> Any:
    """The value of `item` as the annotation `hint` asks, or a fault."""
    value, origin = item.value, get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, dict):
            return build(typing.cast(type, hint), item, faults, f"{path}.", root)
    elif hint is Any:
        return item.plain()
    elif origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (inner,) = [option for option in get_args(hint) if option is not type(None)]
        return _convert(inner, item, path, faults, root)
    elif origin is list:
        if isinstance(value, list):
            (inner,) = get_args(hint)
            return [_convert(inner, part, f"{path}.{i}", faults, root) for i, part in enumerate(value)]
    elif origin is dict:
        if isinstance(value, dict):
            inner = get_args(hint)[1]
            return {key: _convert(inner, part, f"{path}.{key}", faults, root) for key, part in value.items()}
    elif origin is Literal:
        if value in get_args(hint) and not isinstance(value, bool):
            return value
    elif _is_scalar(value, hint):
        if hint is not float or math.isfinite(value):
            return hint(value)
        faults.append(f"{item.where}: {path}: expected a finite number, found {value}")
        return None
    faults.append(
        f"{item.where}: {path}: expected {_expected(hint)}, found {_name_of(value)}{_near_choice(hint, value)}"
    )
    return None


def _is_scalar(value: Any, hint: type) -> bool:
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _expected(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    if get_origin(hint) is list:
        return "a list"
    if dataclasses.is_dataclass(hint) or get_origin(hint) is dict:
        return "a mapping"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint, str(hint))


def _near_choice(hint: Any, value: Any) -> str:
    choices = [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []
    return nearest(str(value), choices)


def _name_of(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else f"{value!r}"


def _child(node: Located, part: str) -> Located | None:
    if isinstance(node.value, dict):
        return node.value.get(part)
    if not isinstance(node.value, list):
        return None
    return node.value[int(part)] if part.isdigit() and int(part) < len(node.value) else None


def _base_names(bases: Located | None, path: Path) -> Sequence[str]:
    if bases is None:
        return []
    names = bases.plain()
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{bases.where}: {BASE_KEY}: expected a file name or a list of them")
    for name in names:
        if not (path.parent / name).is_file():
            raise UserError(f"{bases.where}: {BASE_KEY}: no such file: {path.parent / name}")
    return names


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from None


def _parse(text: str, where: str, faults: list[str]) -> Located:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark and where != COMMAND_LINE else ""
        raise UserError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    return Located(None, where) if node is None else _locate(node, where, faults)


def _locate(node: yaml.Node, file: str, faults: list[str], prefix: str = "") -> Located:
    where = file if file == COMMAND_LINE else f"{file}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return Located([_locate(item, file, faults, f"{prefix}{i}.") for i, item in enumerate(node.value)], where)
    if isinstance(node, yaml.MappingNode):
        entries: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            item = _locate(value_node, file, faults, f"{prefix}{key}.")
            if key in entries:
                faults.append(f"{item.where}: {prefix}{key}: written twice, first at {entries[key].where}")
            entries[key] = Located(item.value, item.where)
        return Located(entries, where)
    assert isinstance(node, yaml.ScalarNode)
    return Located(_scalar(node.value) if node.style is None else node.value, where)


def _scalar(text: str) -> Any:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
