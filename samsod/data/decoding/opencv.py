"""OpenCV's decoders: imported with one clear line when they are not there, kept quiet, and listened to.

Take `cv2` from this file (or `images`) instead of importing it, so that a server without libGL gets that line.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.utils.errors import UserError


def _explain(error: ImportError) -> str:
    """One line on why `import cv2` failed and what mends it."""
    if isinstance(error, ModuleNotFoundError):
        return f"opencv-python is not installed: pip install opencv-python ({error})"
    if "libGL" in str(error):
        return (
            "opencv-python cannot find libGL: install opencv-python-headless in its place, or the system package libgl1"
        )
    cause = " ".join(str(error).split())
    return f"opencv-python cannot be imported ({cause}): opencv-python-headless needs fewer system libraries"


try:
    import cv2
except ImportError as import_error:
    raise UserError(_explain(import_error)) from import_error

__all__ = ["cv2", "decode"]

# OpenCV 5 moved these two functions.
_LOGGING: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
# What libjpeg says of damage; it warns of less too, such as odd version numbers.
_DAMAGE = ("Corrupt JPEG data: ", "Premature end of JPEG file", "Inconsistent progression sequence")
_STDERR = 2


class _Quiet:
    """Silences OpenCV, whose own report would stand beside the one line, while any thread is within."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the lock's holder may be a thread that a fork leaves behind

    def _reset(self) -> None:
        self._lock, self._within, self._level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._level = _LOGGING.getLogLevel()
                _LOGGING.setLogLevel(0)
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                _LOGGING.setLogLevel(self._level)


_QUIET = _Quiet()
_DIVERTED = threading.RLock()  # reentrant, for a signal's handler that forks in the middle
# No process is forked while stderr is diverted: it would keep the pipe for its stderr.
os.register_at_fork(before=_DIVERTED.acquire, after_in_parent=_DIVERTED.release, after_in_child=_DIVERTED.release)


def decode(data: bytes, flags: int) -> tuple[npt.NDArray[Any] | None, str]:
    """Decodes an image file.

    libjpeg goes on over damaged data and only says so on the process's stderr, without the file's name; OpenCV hands
    no word of it on. So stderr is diverted while a JPEG is decoded, one at a time. What else is written to it in these
    milliseconds, by other threads, is written to it after all.

    Returns:
        The image, blue first, or None if OpenCV refuses it; and what libjpeg noticed of damage, or nothing.
    """
    written = bytearray()
    with _QUIET, diverted(written) if data.startswith(b"\xff\xd8\xff") else nullcontext():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            image = None
    return image, _damage(bytes(written)) if written else ""


def _damage(written: bytes) -> str:
    """Takes libjpeg's report of damage out of what was written to stderr, and passes the rest on."""
    lines = written.splitlines(keepends=True)
    reports = [line.decode(errors="replace").strip() for line in lines]
    rest = b"".join(line for line, report in zip(lines, reports, strict=True) if not report.startswith(_DAMAGE))
    with suppress(OSError):
        os.write(_STDERR, rest)
    return next((report for report in reports if report.startswith(_DAMAGE)), "")


@contextmanager
def diverted(written: bytearray) -> Iterator[None]:
    """Collects what is written to stderr; a closed stderr is left alone."""
    with _DIVERTED:
        try:
            original = os.dup(_STDERR)
        except OSError:
            yield
            return
        reader, writer = os.pipe()
        try:
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)  # what is too much for the pipe is lost, but nobody waits
            os.dup2(writer, _STDERR)
            yield
        finally:
            os.dup2(original, _STDERR)
            with suppress(BlockingIOError):
                written += os.read(reader, 1 << 16)
            for file in (original, reader, writer):
                os.close(file)
