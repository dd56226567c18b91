"""Errors meant for people, and the exit codes of the command line."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from samsod.utils.streams import make_streams_safe

EXIT_OK, EXIT_FAILURE, EXIT_USER_ERROR = 0, 1, 2


class UserError(ValueError):
    """A mistake the user can mend: the message says what was wrong, where, and what was expected.

    The command-line tools print one line for each fault, without a traceback, and exit with 2.

    Args:
        faults: A message for each fault. What would break its line, or is no text, as in odd names of files, is
            escaped; so the lines of `str(error)` are the faults, and so are `args`.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(*map(shown, faults))

    def __str__(self) -> str:
        return "\n".join(self.args)


class Failure(RuntimeError):
    """Something known that is no mistake of the user's: one line without a traceback, and exit code 1."""


def shown(name: str | Path) -> str:
    """A path or name on one line, for any stream: line breaks and bytes that are no text are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(name))


def about(path: str | Path, fault: str) -> UserError:
    """The error for a file or folder: one line that names it."""
    return UserError(f"{shown(path)}: {fault}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the known name closest to `name`, whatever its case; "" when none is close."""
    lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return f" (did you mean {lower[close[0]]!r}?)" if close else ""


@contextmanager
def collected(faults: list[str]) -> Iterator[None]:
    """Adds what a `UserError` in the block says to `faults`, to be told with others, instead of raising it."""
    try:
        yield
    except UserError as error:
        faults += error.args


def check_installed(purpose: str, install: str, *packages: str) -> None:
    """Raises UserError when optional packages cannot be imported: what needs them, and what to `pip install`."""
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            why = "" if getattr(error, "name", "") == package else f" ({error})"
            raise UserError(f"{purpose} needs {', '.join(packages)}: pip install {install}{why}") from None


def run_main(main: Callable[[], None]) -> None:
    """Runs a command-line tool and exits.

    The code is 0 on success, 2 on a `UserError` and 1 on anything else. A `Failure` and an error of the system that
    names its file, such as a full disk, are told in one line; what is left is a fault of ours and shows its traceback.
    Nothing that happens to stdout or stderr ends the tool, but a disk that is full of what it prints.
    """
    make_streams_safe()
    code, lines = EXIT_OK, []
    try:
        try:
            main()
        finally:
            sys.stdout.flush()  # here, where a full disk can still be told
    except UserError as error:
        code, lines = EXIT_USER_ERROR, [f"error: {fault}" for fault in error.args]
    except KeyboardInterrupt:
        code, lines = EXIT_FAILURE, ["interrupted"]
    except Exception as error:
        code, lines = EXIT_FAILURE, _lines_of(error)
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(code)


def _lines_of(error: Exception) -> list[str]:
    """What is said of an error that is no mistake of the user's."""
    if _lost_a_rank(error):
        return [f"rank {os.environ['RANK']}: stopped, because another rank did first"]
    if isinstance(error, Failure) or str(error).startswith("DataLoader worker (pid"):  # torch, of one that was killed
        return [f"error: {shown(' '.join(str(error).split()))}"]
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
        return [f"error: {shown(name)}: {shown(error.strerror)}"]
    return traceback.format_exc().splitlines()


def _lost_a_rank(error: Exception) -> bool:
    """Whether a collective failed because the process at its other end is gone."""
    signs = ("Connection closed by peer", "Connection reset")
    return "RANK" in os.environ and any(sign in str(error) for sign in signs)
