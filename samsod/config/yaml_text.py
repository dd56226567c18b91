"""YAML text as a tree of values that know where they were written.

The dialect is the core schema of YAML 1.2: `1e-4` is a number, `010` is ten, `yes` is text, `12:30` is text, and a key
written twice is an error. (PyYAML's own loader reads all of these otherwise.) Tags are refused. What an alias stands
for is copied, and how much a text may hold and how deeply is limited, so that none takes long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from samsod.utils.errors import UserError

COMMAND_LINE = "command line"
MOST_NESTED = 40
"""How deeply lists and mappings may lie in each other."""
MOST_VALUES = 10_000
"""How many values a text may hold, counting those of an alias every time."""
_LONGEST_INT = 19
"""Digits; what is longer counts as a float."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
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


class _Loader(yaml.SafeLoader):
    def check_printable(self, data: str) -> None:
        super().check_printable(_SURROGATE.sub("?", data))  # names of files may be no UTF-8


class _UncommentedLoader(_Loader):
    def scan_to_next_token(self) -> None:
        start = self.pointer
        super().scan_to_next_token()
        if "#" in self.buffer[start : self.pointer]:
            raise yaml.YAMLError("there are no comments here; put quotes around text with ' #' in it")


def parse_file(text: str, file: str, faults: list[str]) -> Located:
    """What a config file's text holds; `faults` gets a line for every key that is written twice.

    Raises:
        UserError: It is no YAML, or holds what a config does not.
    """
    return _Parser(text, file, faults, _Loader).document()


def parse_value(text: str, faults: list[str]) -> Located:
    """The value of an override: a flow collection or quoted text as in YAML, everything else a plain scalar as it is.

    So there are no comments: `run #2` is text of six letters.

    Raises:
        UserError: A collection or quoted text that is no YAML.
    """
    text = text.strip()
    if text.startswith(("[", "{", "'", '"')):
        return _Parser(text, COMMAND_LINE, faults, _UncommentedLoader).document()
    return Located(_scalar(text) if text else "", COMMAND_LINE)


class _Parser:
    def __init__(self, text: str, file: str, faults: list[str], loader: type[_Loader]) -> None:
        self.text, self.file, self.faults = text, file, faults
        self.events = self._events(loader)
        self.anchors: dict[str, Located | None] = {}
        self.count = 0

    def document(self) -> Located:
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return Located(None, self.file)
        value = self._value(next(self.events), "", 0)
        next(self.events)  # the document's end
        following = next(self.events)
        if not isinstance(following, yaml.StreamEndEvent):
            self._refuse(following, "expected one document")
        return value

    def _events(self, loader: type[_Loader]) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self.text, Loader=loader)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
            mark = getattr(error, "problem_mark", None)
            line = mark.line if mark else self.text.count("\n", 0, getattr(error, "position", 0))
            raise UserError(f"{self._line(line)}: not valid YAML: {problem}") from None

    def _value(self, event: yaml.Event, prefix: str, depth: int) -> Located:
        where = self._where(event)
        if isinstance(event, yaml.AliasEvent):
            name = event.anchor or ""
            anchored = self.anchors.get(name)
            if anchored is None:
                held = "lies in what it stands for" if name in self.anchors else "stands for nothing above it"
                self._refuse(event, f"the alias *{name} {held}")
            return self._copied(anchored, event, depth)
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
        if event.tag is not None:
            self._refuse(event, f"found the tag {event.tag}; a config has none")
        self._check_size(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value: Any = _scalar(event.value) if event.style is None else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._items(prefix, depth + 1)
        else:
            value = self._entries(prefix, depth + 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = Located(value, where)
        return Located(value, where)

    def _items(self, prefix: str, depth: int) -> list[Located]:
        items: list[Located] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{prefix}{len(items)}.", depth))
        return items

    def _entries(self, prefix: str, depth: int) -> dict[str, Located]:
        entries: dict[str, Located] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                self._refuse(event, "expected text for a key")
            key = event.value
            item = self._value(next(self.events), f"{prefix}{key}.", depth)
            if key in entries:
                self.faults.append(f"{item.where}: {prefix}{key}: written twice, first at {entries[key].where}")
            entries[key] = item
        return entries

    def _copied(self, item: Located, event: yaml.Event, depth: int) -> Located:
        self._check_size(event, depth)
        value = item.value
        if isinstance(value, dict):
            value = {key: self._copied(part, event, depth + 1) for key, part in value.items()}
        elif isinstance(value, list):
            value = [self._copied(part, event, depth + 1) for part in value]
        return Located(value, item.where)

    def _check_size(self, event: yaml.Event, depth: int) -> None:
        self.count += 1
        if depth > MOST_NESTED:
            self._refuse(event, f"nested more than {MOST_NESTED} deep")
        if self.count > MOST_VALUES:
            self._refuse(event, f"more than {MOST_VALUES} values, counting those of an alias every time")

    def _where(self, event: yaml.Event) -> str:
        return self._line(event.start_mark.line if event.start_mark else 0)

    def _line(self, number: int) -> str:
        return self.file if self.file == COMMAND_LINE else f"{self.file}:{number + 1}"

    def _refuse(self, event: yaml.Event, fault: str) -> NoReturn:
        raise UserError(f"{self._where(event)}: {fault}")


def _scalar(text: str) -> Any:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text) if len(text) <= _LONGEST_INT else float(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
