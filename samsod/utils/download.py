"""Downloading a large file: resumed where it was cut off, and whole under its name or not there."""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from samsod.utils.errors import Failure, UserError, about, shown
from samsod.utils.files import check_file_writable, named, write_text
from samsod.utils.progress import byte_progress

CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without a byte after which a connection is given up."""
GONE = (401, 403, 404, 410)
"""Answers that say the address is wrong; others may be another tomorrow."""


def download(url: str, path: Path) -> None:
    """Downloads a file to a path, which must not exist.

    What has come lies in `<name>.partial` beside it, and what the server said about the file in `<name>.partial.from`.
    When the download was cut off, the next one asks for the rest; it begins anew if the server has no parts to give or
    another file by now. The file gets its name when it is as long as the server said.

    Raises:
        UserError: The server has no such file, it is not a URL, `path` exists or cannot be written, or another process
            downloads it.
        Failure: The server cannot be reached, failed, or did not send what it said; what has come is kept.
        OSError: The disk is full; the error names the file.
    """
    if path.exists():
        raise about(path, "exists; nothing was downloaded")
    check_file_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, origin = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.partial.from")
    with _held(partial) as file:
        total, tag = _origin(origin)
        if not total or file.tell() != total:
            total = _fetch(url, file, origin, total, tag)
            if file.tell() < total:
                raise Failure(f"{url}: cut off after {file.tell():,} of {total:,} bytes; the same command goes on")
        partial.replace(path)
        origin.unlink(missing_ok=True)


def _fetch(url: str, file: BinaryIO, origin: Path, total: int, tag: str) -> int:
    """Gets the rest of a file, or all of it; how long the server says the whole is."""
    start = file.tell() if total and tag else 0
    with closing(_opened(url, start, tag)) as answer:
        start = start if answer.status == 206 else 0
        now = _length(answer, start, url)
        if start and now != total:
            return _fetch(url, file, origin, 0, "")
        if not start:
            file.truncate(0)
            file.seek(0)
            write_text(origin, f"{now} {answer.headers.get('ETag') or answer.headers.get('Last-Modified') or ''}")
        with byte_progress(origin.name.removesuffix(".partial.from"), start, now) as advance:
            for chunk in _chunks(answer):
                file.write(chunk)
                advance(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    return now


@contextmanager
def _held(partial: Path) -> Iterator[BinaryIO]:
    """The file, opened to be added to, for this process alone."""
    import fcntl  # for POSIX systems only, unlike the rest

    with named(partial), partial.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise about(partial, "another process is downloading it") from None
        if not partial.exists():
            raise about(partial, "another process has just finished it")
        try:
            yield file
        finally:
            if not file.tell():
                partial.unlink(missing_ok=True)


def _origin(path: Path) -> tuple[int, str]:
    """Length and version of the file that a part of was downloaded; 0 when nobody knows."""
    try:
        found = re.fullmatch(r"(\d+) (.*)", path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    return (int(found[1]), found[2]) if found else (0, "")


def _opened(url: str, start: int, tag: str) -> Any:
    """The server's answer to a request for the file, or for what of it comes after `start`."""
    headers = {"User-Agent": "samsod", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={start}-", "If-Range": tag} if start else {}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the file is shorter by now
            return _opened(url, 0, "")
        fault = f"{url}: the server says {error.code} {error.reason}"
        raise (UserError(fault) if error.code in GONE else Failure(fault)) from None
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{url}: cannot be reached: {getattr(error, 'reason', None) or error}") from None
    except ValueError as error:
        raise UserError(f"{shown(url)}: {error}") from None


def _length(answer: Any, start: int, url: str) -> int:
    """How long the whole file is."""
    said = answer.headers.get("Content-Length", "")
    if start:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        said = found[2] if found and int(found[1]) == start else ""
    if not said.isdecimal():
        raise Failure(f"{url}: the server does not say how long the file is, so that nobody could tell if it was whole")
    return int(said)


def _chunks(answer: Any) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(CHUNK):
            yield chunk
    except (http.client.HTTPException, ConnectionError, TimeoutError):
        return  # the length tells that something is missing
