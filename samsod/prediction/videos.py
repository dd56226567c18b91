"""Videos: read frame by frame in order by OpenCV (FFmpeg), and written whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from samsod.data.decoding.images import Bytes, as_bytes, cv2
from samsod.data.decoding.opencv import diverted
from samsod.utils.errors import Failure, UserError, about
from samsod.utils.files import check_file_writable, temporary_folder

ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ts", ".flv", ".3gp", ".ogv")
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80", ".mkv": "mp4v"}
"""By ending what a video is written as: what OpenCV's own packages can encode, none of them H.264."""
USUAL_RATE = 25.0
"""Frames per second where nothing says how many."""
_FASTEST = 1000.0
_LONGEST_LOSS = 1000
_REPORT = re.compile(rb"\[\w[^\]\n]* @ 0x[0-9a-f]+\] *(.*)")
"""A line of FFmpeg's on stderr; OpenCV hands no word of it on."""
_OPENCV = re.compile(rb"\[ ?(?:WARN|ERROR|INFO):\d+@")


class Video:
    """A video file whose frames are taken in order.

    A frame is known by its index from 0. FFmpeg hides what damage it can and goes on; it says so on stderr only, where
    it is listened to. (It decodes with one thread for that: with more, its words come frames too early.)

    Args:
        path: The file.

    Attributes:
        path: The file.
        called: What messages call it.
        length: How many frames the file says it has; 0: it does not say. Some containers hold an estimate.
        rate: Frames per second; `USUAL_RATE` where the file says nothing that can be.

    Raises:
        UserError: The file is missing, or no video that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.called = str(path)
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise about(path, f"cannot be read: {error.strerror}") from None
        if empty:
            raise about(path, "the file is empty")
        said = bytearray()
        with diverted(said):
            settings = [cv2.CAP_PROP_N_THREADS, 1]
            self._capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, settings)
        if not self._capture.isOpened():
            reason = _report(said)
            raise about(path, f"not a video OpenCV can read, or a damaged one{f' ({reason})' if reason else ''}")
        self.length = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= _FASTEST else USUAL_RATE
        self._next = 0
        self._held = False  # whether a frame was grabbed that is still to come, after `_lost` ones
        self._lost = 0
        self._report = ""

    def skip(self) -> bool:
        """Passes over the next frame, damaged or not; False at the end."""
        return self._advance()[0]

    def read(self) -> Bytes | None:
        """The next frame, uint8 `[H,W,3]`, red first, turned upright; None at the end.

        Raises:
            UserError: The frame is damaged or lost, or the file ends long before it says; the next can be read.
        """
        index = self._next
        there, report = self._advance()
        if not there:
            lacking, self.length = self.length - index, 0  # this is said once
            if lacking > max(1.0, (index + lacking) / 100):
                raise about(self.path, f"ends after {index} frames and says it has {index + lacking}: it was cut off")
            return None
        image = None if report else self._capture.retrieve()[1]
        if image is None:
            raise about(self.path, f"frame {index} is damaged{f' ({report})' if report else ''}")
        return as_bytes(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        """Lets go of the file."""
        self._capture.release()

    def _advance(self) -> tuple[bool, str]:
        """Goes to the next frame; whether there is one, and what FFmpeg said of damage to it."""
        if not self._held:
            self._grab()
        if not self._held:
            return False, ""
        self._next += 1
        report = self._report
        if self._lost:
            self._lost -= 1
            self._report = report if self._lost else ""
            return True, report or "lost"
        self._held = False
        return True, report

    def _grab(self) -> None:
        """Grabs a frame; at the end of the file all that are still due fail, before it only those that are lost."""
        said = bytearray()
        due = min(max(1, self.length - self._next), _LONGEST_LOSS)
        with diverted(said):
            lost = next((count for count in range(due) if self._capture.grab()), None)
        self._held, self._lost, self._report = lost is not None, lost or 0, _report(said)


def check_video(path: Path) -> None:
    """Refuses, before any work is done, a video that could not be written.

    Raises:
        UserError: An ending nobody knows, or a folder that cannot be written to.
    """
    if path.suffix.lower() not in CODECS:
        raise UserError(f"{path}: expected a video's name with the ending {', '.join(CODECS)}")
    check_file_writable(path)


def write_video(path: Path, frames: Iterable[Bytes], rate: float) -> int:
    """Writes a video, whole or not at all: it gets its name when it is finished and was found to be whole.

    Args:
        path: The file; its ending says how it is encoded, see `CODECS`.
        frames: uint8 `[H,W,3]`, red first, all of the first one's size; an odd side gets one more row or column.
        rate: Frames per second.

    Returns:
        How many frames it has; with none, no file is written.

    Raises:
        UserError: OpenCV cannot encode it here.
        Failure: It could not be written whole, for want of room.
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path.parent, f".{path.name}.") as place:
        partial = place / path.name  # OpenCV takes the container from the ending
        count = _encode(path, partial, frames, rate)
        if count:
            _check_whole(path, partial, count)
            partial.replace(path)
    return count


def _encode(path: Path, partial: Path, frames: Iterable[Bytes], rate: float) -> int:
    writer, count = None, 0
    try:
        for frame in frames:
            height, width = frame.shape[:2]
            even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if writer is None:
                writer = _writer(path, partial, (even.shape[1], even.shape[0]), rate)
            writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        if writer is not None:
            with diverted(bytearray()):
                writer.release()
    return count


def _writer(path: Path, partial: Path, size: tuple[int, int], rate: float) -> cv2.VideoWriter:
    codec = CODECS[path.suffix.lower()]
    with diverted(bytearray()):  # remarks on tags
        writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, size)
    if not writer.isOpened():
        raise UserError(f"{path}: OpenCV cannot write a video of {size[0]}x{size[1]} pixels as {codec} here")
    return writer


def _check_whole(path: Path, partial: Path, count: int) -> None:
    """OpenCV's writer tells nobody of a full disk."""
    try:
        video = Video(partial)
    except UserError:
        found = 0
    else:
        found = video.length
        video.close()
    if abs(found - count) > 1:  # of some containers the length is an estimate
        raise Failure(f"{path}: could not be written whole ({found} of {count} frames); is the disk full?")


def _report(said: bytearray) -> str:
    """The first thing FFmpeg said; what others wrote to stderr meanwhile is passed on."""
    lines = bytes(said).splitlines(keepends=True)
    reports = [match[1].decode(errors="replace") for line in lines if (match := _REPORT.match(line.strip()))]
    with suppress(OSError):
        os.write(2, b"".join(line for line in lines if not _REPORT.match(line.strip()) and not _OPENCV.match(line)))
    return reports[0] if reports else ""
