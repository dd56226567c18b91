"""Errors meant for people, and the exit codes of the command line."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

EXIT_OK, EXIT_FAILURE, EXIT_USER_ERROR = 0, 1, 2


class UserError(ValueError):
    """A mistake the user can mend: the message says what was wrong, where, and what was expected.

    Each line of the message is one fault; the command-line tools print them without a traceback and exit with 2.
    """


class Failure(RuntimeError):
    """Something known that is no mistake of the user's: one line without a traceback, and exit code 1."""


def shown(name: str | Path) -> str:
    """A path or name on one line, for any stream: line breaks and bytes that are no text are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(name))


def about(path: str | Path, fault: str) -> UserError:
    """The error for a file or folder: one line that names it."""
    return UserError(f"{shown(path)}: {fault}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the known name closest to `name`, or an empty string when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def run_main(main: Callable[[], None]) -> None:
    """Runs a command-line tool and exits: 0 on success, 2 on a `UserError` (no traceback), 1 on anything else."""
    try:
        main()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except Failure as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILURE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_FAILURE)
    except Exception as error:
        if _lost_a_rank(error):
            print(f"rank {os.environ['RANK']}: stopped, because another rank did first", file=sys.stderr)
        elif str(error).startswith("DataLoader worker (pid"):  # torch's word for a process that was killed
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        else:
            traceback.print_exc()
        sys.exit(EXIT_FAILURE)
    sys.exit(EXIT_OK)


def _lost_a_rank(error: Exception) -> bool:
    """Whether a collective failed because the process at its other end is gone."""
    signs = ("Connection closed by peer", "Connection reset")
    return "RANK" in os.environ and any(sign in str(error) for sign in signs)
