"""Standard output and standard error that cannot end a run."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Nobody reads any more: the other end of the pipe ended, the terminal was closed."""


def make_streams_safe() -> None:
    """Makes this process's standard streams take whatever is printed.

    A character their encoding lacks is escaped. A stream that was closed from the start leads nowhere, and so does one
    from the moment when nobody reads it any more (`| head`), for this process and those it starts. A full disk under
    stdout is an OSError with the file name "standard output", once; under stderr it goes unsaid.
    """
    for number in (0, 1, 2):  # or the next file that is opened would get the number, and what libraries print
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = _safe(sys.stdout, sys.__stdout__, (), "standard output")
    sys.stderr = _safe(sys.stderr, sys.__stderr__, (errno.ENOSPC, errno.EDQUOT), "standard error")


def _safe(stream: TextIO | None, original: TextIO | None, unsaid: tuple[int, ...], name: str) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream  # somebody put another in its place, as tests do
    stream.flush()
    raw = _Descriptor(stream.fileno(), unsaid, name)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Descriptor(io.FileIO):
    """Writes to an open descriptor, and leads it nowhere after the first error."""

    def __init__(self, number: int, unsaid: tuple[int, ...], name: str) -> None:
        super().__init__(number, "w", closefd=False)
        self._unsaid, self._name = (*_GONE, *unsaid), name

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno in self._unsaid:
                return len(data)
            raise OSError(error.errno, error.strerror, self._name) from None
