"""Reads YAML files and command-line overrides into typed dataclasses, and reports every fault at once."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from samsod.config.yaml_text import COMMAND_LINE, MOST_NESTED, Located, parse_file, parse_value
from samsod.utils.errors import UserError, nearest

T = TypeVar("T")
Faults = Iterator[tuple[str, str]]
"""What a config dataclass's `check` yields: (key, message) for every value out of range."""

BASE_KEY = "_base_"
MOST_CHARACTERS = 2**20
"""Length of the longest file that is read."""
FAULTS_SHOWN = 100
"""How many faults are told, each in a line."""


def read_tree(path: Path, faults: list[str], _seen: tuple[Path, ...] = (), _laid: set[Path] | None = None) -> Located:
    """Reads a config file with the files it inherits from (`_base_`, relative to the file; later ones win).

    A file that several of them inherit from counts once, below all of these: `[rgbd.yaml, tiny.yaml]` has the data of
    the one and the size of the other, though both start from base.yaml.
    """
    path, laid = Path(path), set() if _laid is None else _laid
    if path.resolve() in _seen:
        chain = " -> ".join(str(file) for file in (*_seen, path))
        raise UserError(f"{path}: {BASE_KEY} goes in a circle: {chain}")
    tree = parse_file(_read_text(path), str(path), faults)
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
    value, node = parse_value(text, faults), tree
    *parents, last = key.strip().split(".")
    if len(parents) > MOST_NESTED:
        faults.append(f"{COMMAND_LINE}: {key[:40]}...: nested more than {MOST_NESTED} deep")
        return
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
    elif (index := _index(last, node.value)) is not None:
        node.value[index] = value
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
            near = _suggest(path, prefix, fields, root) if len(faults) < FAULTS_SHOWN else ""
            faults.append(f"{item.where}: {path}: unknown key{near}")
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
    elif hint is Any and isinstance(value, (dict, list)):
        return _convert(dict[str, Any] if isinstance(value, dict) else list[Any], item, path, faults, root)
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
        if fault := _unusable(value):
            faults.append(f"{item.where}: {path}: {fault}")
        return value if hint is Any else hint(value)
    faults.append(
        f"{item.where}: {path}: expected {_expected(hint)}, found {_name_of(value)}{_near_choice(hint, value)}"
    )
    return None


def _unusable(value: Any) -> str:
    """What is wrong with a value of the right type."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number, found {value}"
    return "expected text without NUL characters" if isinstance(value, str) and "\0" in value else ""


def _is_scalar(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
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
    return "nothing" if value is None else reprlib.repr(value)


def _child(node: Located, part: str) -> Located | None:
    if isinstance(node.value, dict):
        return node.value.get(part)
    index = _index(part, node.value) if isinstance(node.value, list) else None
    return None if index is None else node.value[index]


def _index(part: str, items: list[Located]) -> int | None:
    """The item a part of a key names; None when there is no such item."""
    index = int(part) if part.isdecimal() and len(part) < 9 else len(items)
    return index if index < len(items) else None


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
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{path}: more than {MOST_CHARACTERS} characters; that is no config file")
    return text
