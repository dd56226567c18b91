"""Registries: the names a config may use for models, encoders, adapters, losses, gradient rules and further metrics."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from samsod.utils.errors import UserError, nearest, shown

T = TypeVar("T", bound=Callable[..., Any])


class Registry:
    """Named constructors of one kind, open to a user's own modules.

    Args:
        kind: What is registered, as error messages call it ("adapter").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Callable[..., Any]] = {}
        self._places: dict[str, str] = {}

    def register(self, name: str, replace: bool = False) -> Callable[[T], T]:
        """Decorator that files a class or function under `name`.

        Args:
            name: What configs call it.
            replace: Take the name from what has it.

        Raises:
            ValueError: The name is taken by something else. The same line of the same file, imported twice (as a script
                and as a module), is not something else.
        """
        caller = sys._getframe(1)
        place = f"{os.path.realpath(caller.f_code.co_filename)}:{caller.f_lineno}"

        def decorate(entry: T) -> T:
            taken = self._entries.get(name, entry)
            if taken is not entry and self._places[name] != place and not replace:
                raise ValueError(
                    f"{self.kind} {name!r} is already registered at {self._places[name]}; choose another name, "
                    f"or take it on purpose: register({name!r}, replace=True)"
                )
            self._entries[name], self._places[name] = entry, place
            return entry

        return decorate

    def get(self, name: str) -> Callable[..., Any]:
        """The entry called `name`.

        Raises:
            UserError: No such entry; the message lists those there are and the nearest one.
        """
        if name not in self._entries:
            raise UserError(
                f"no {self.kind} is called {name!r}{nearest(name, self._entries)}; "
                f"known: {', '.join(sorted(self._entries))}"
            )
        return self._entries[name]

    def names(self) -> list[str]:
        """The names of all entries, in the order of their registration."""
        return list(self._entries)


MODELS = Registry("model")
ENCODERS = Registry("encoder")
ADAPTERS = Registry("adapter")
LOSSES = Registry("loss")
RULES = Registry("gradient rule")
METRICS = Registry("metric")


def import_user_modules(modules: Iterable[str]) -> None:
    """Imports a user's own modules, so that what they register can be named in a config.

    Args:
        modules: Dotted names (found from the working directory too) or paths of `.py` files.

    Raises:
        UserError: A module cannot be found or fails to import.
    """
    for module in modules:
        try:
            with contextlib.redirect_stdout(_Printed(module)):
                _import(module)
        except BaseException as error:  # a module may exit too
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise UserError(f"imports: cannot import {module!r}: {reason}") from error


class _Printed(io.TextIOBase):
    """Leads what a user's module prints to stderr, with its name before every line: stdout is for a tool's results."""

    def __init__(self, module: str) -> None:
        self._module, self._line = module, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            print(f"{self._module}: {shown(line)}", file=sys.stderr)
        return len(text)


def _import(module: str) -> None:
    if module.endswith(".py"):
        _import_file(Path(module))
        return
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        # Last, so that a file there called copy.py hides no module, here or in a process started from here.
        sys.path.append(str(Path.cwd()))
    importlib.import_module(module)


def _import_file(path: Path) -> None:
    name = f"samsod_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
