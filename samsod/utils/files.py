"""Files and folders that are whole or absent, and one line when they cannot be written; a digest of code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from samsod.utils.errors import UserError

LOCK = ".lock"
"""The file that `locked` locks."""


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Gives errors of the system that name no file, as a full disk's do, the name of this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; the file gets its own name when the block ends, and is gone if it fails.

    Raises:
        OSError: It cannot be written; the error names `path`.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with named(path):
            yield partial
            partial.replace(path)
    except OSError as error:
        if error.filename == str(partial):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, UTF-8, whole or not at all; what is no text in it, as in odd names of files, is escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Writes a file whole or not at all."""
    with written_whole(path) as partial:
        partial.write_bytes(data)


def append_text(path: Path, text: str) -> None:
    """Adds to the end of a text file, as `write_text` writes one."""
    with named(path), path.open("ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The mapping that a JSON file holds; messages say that `expected` should be there.

    Raises:
        UserError: There is no such file, or something else in it; one line.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {expected}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); expected {expected}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no mapping; expected {expected}")
    return content


def check_writable(folder: str | Path) -> None:
    """Refuses a folder that could not be made or written to, without making it.

    Raises:
        UserError: It, or the nearest folder above it that exists, is a file, a link that leads nowhere or cannot be
            written to.
    """
    place = _nearest_that_exists(Path(folder))
    if not place.is_dir():
        raise UserError(f"{folder}: {place} is a file, expected a folder")
    try:
        with tempfile.TemporaryFile(dir=place):  # asks the file system; rights alone say little to root or over NFS
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot write to {place}: {error.strerror}") from None


def check_file_writable(path: Path, appended: bool = False) -> None:
    """Refuses a file that could not be written, without making it or its folder.

    Args:
        path: The file.
        appended: It is added to if it is there, and not replaced.

    Raises:
        UserError: See `check_writable`; or something else than a file has its name.
    """
    check_writable(path.parent)
    if _nearest_that_exists(path) != path.absolute():
        return
    if not path.is_file():
        raise UserError(f"{path}: is {'a folder' if path.is_dir() else 'no regular file'}, expected a file")
    if appended:
        try:
            path.open("ab").close()
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def _nearest_that_exists(path: Path) -> Path:
    place = path.absolute()
    while True:
        try:
            place.stat()
            return place
        except (FileNotFoundError, NotADirectoryError):
            if place.is_symlink():
                where = f"{path}: " if place == path.absolute() else f"{path}: {place} "
                raise UserError(f"{where}is a link to {os.readlink(place)}, which is not there") from None
            place = place.parent
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None


def expanded(path: str | Path) -> Path:
    """A path with `~` resolved, which no shell does after an equals sign.

    Raises:
        UserError: There is no such user, or nobody knows this one's home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: it is not known which folder ~ stands for; write it out") from None


def cache_folder() -> Path:
    """`samsod` in the user's cache folder: $XDG_CACHE_HOME, or ~/.cache; without a home, in that of temporary files."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # the XDG specification has relative paths ignored
        return Path(base) / "samsod"
    try:
        return Path.home() / ".cache" / "samsod"
    except (RuntimeError, KeyError):
        return Path(tempfile.gettempdir()) / f"samsod-{os.getuid()}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process while the block runs, so that no other run writes into it at the same time.

    The lock is the operating system's, on the file `.lock` in the folder: it ends with the process, however that ends,
    and the file that stays behind means nothing. The folder is made when it is not there.

    Raises:
        UserError: Another process holds the folder; the line gives its number and host. Or it cannot be made.
    """
    import fcntl  # for POSIX systems only, unlike the rest

    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror or error}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(100).strip() or "another process"
            raise UserError(f"{folder}: {holder} is working in it; wait for it, or choose another folder") from None
        except OSError as error:
            print(f"note: {path}: this file system cannot lock ({error.strerror})", file=sys.stderr, flush=True)
        with suppress(OSError):  # a full disk; whoever finds the lock need not know whose it is
            file.truncate(0)
            os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, deleted when the block ends, however it ends: SIGTERM stops it as Ctrl-C does.

    What processes that were killed left under the same prefix is deleted too, unless others work in `parent`.

    Raises:
        OSError: It cannot be made.
    """
    import fcntl  # for POSIX systems only, unlike the rest

    stopped = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    stopped = stopped and threading.current_thread() is threading.main_thread()
    use = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in parent.glob(f"{prefix}*"):
                shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):  # a file system that cannot lock: nothing is cleaned there
            fcntl.flock(use, fcntl.LOCK_SH)
        if stopped:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
            yield Path(name)
    finally:
        os.close(use)
        if stopped:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def code_digest(*parts: ModuleType) -> str:
    """SHA-256 of the source of modules and of packages with all in them: what else code made is out of date."""
    digest = hashlib.sha256()
    for part in parts:
        source = Path(str(part.__file__))
        for file in sorted(source.parent.rglob("*.py")) if hasattr(part, "__path__") else [source]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
