"""Registries: the names a config may use for models, encoders, adapters, losses and gradient rules."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from samsod.utils.errors import UserError, nearest

T = TypeVar("T", bound=Callable[..., Any])


class Registry:
    """Named constructors of one kind, open to a user's own modules.

    Args:
        kind: What is registered, as error messages call it ("adapter").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files a class or function under `name`.

        Raises:
            ValueError: The name is taken by something else.
        """

        def decorate(entry: T) -> T:
            taken = self._entries.get(name)
            # The same file imported twice (as a script and as a module) is not a clash.
            if taken is not None and taken.__qualname__ != entry.__qualname__:
                raise ValueError(f"{self.kind} {name!r} is already registered by {taken.__module__}")
            self._entries[name] = entry
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


MODELS = Registry("model")
ENCODERS = Registry("encoder")
ADAPTERS = Registry("adapter")
LOSSES = Registry("loss")
RULES = Registry("gradient rule")


def import_user_modules(modules: Iterable[str]) -> None:
    """Imports a user's own modules, so that what they register can be named in a config.

    Args:
        modules: Dotted names (found from the working directory too) or paths of `.py` files.

    Raises:
        UserError: A module cannot be found or fails to import.
    """
    for module in modules:
        try:
            if module.endswith(".py"):
                _import_file(Path(module))
            else:
                if "" not in sys.path and str(Path.cwd()) not in sys.path:
                    sys.path.insert(0, str(Path.cwd()))
                importlib.import_module(module)
        except Exception as error:
            raise UserError(f"imports: cannot import {module!r}: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> None:
    name = f"samsod_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
