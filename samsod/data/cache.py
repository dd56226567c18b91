"""A cache of equally long pieces of data, shared by the loader processes and the ranks of a machine.

One mechanism for memory and disk: a file of a header, a mark of eight bytes per slot, and slots of one length, mapped
into every process that reads it. In memory the file lies in /dev/shm and loses its name as soon as all ranks have
opened it, so that it is gone with the last process, however that ends. On disk it stays for later runs; caches that
nobody has open make room, the one used longest ago first.

A slot is written with `pwrite`, then its mark, which holds the content's checksum. So two processes may fill the same
slot at once (they write the same bytes), and a slot that is half-written, or that something else wrote to, is found
out when a process first reads it, and filled anew. Nobody writes through the map: on a full disk that would kill the
process, where `pwrite` says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.config.data_schema import DataConfig
from samsod.utils.errors import UserError

Slot = npt.NDArray[np.uint8]

SHARED_MEMORY = Path("/dev/shm")
_VERSION = 1  # of the layout
_PAGE = 4096
_RANKS_AT, _MARKS_AT = _PAGE, 2 * _PAGE
_MARK = 8
_FILLED = 1 << 32  # beside the checksum, so that the mark of a filled slot is never 0
_GIB = 2**30


def open_cache(data: DataConfig, content: str, samples: int, length: int) -> SlotFile:
    """Opens or makes the cache that `data.cache` asks for, in memory or on disk.

    Args:
        data: Where, and how large at most.
        content: Everything the content depends on.
        samples: How many slots are wanted; when not all fit, the first ones get them.
        length: Bytes of a slot.

    Raises:
        UserError: There is no room, or the file cannot be made.
    """
    slots = min(samples, (int(data.cache_gib * _GIB) - SlotFile.size(samples, 0)) // length)
    if slots < 1:
        raise UserError(f"data.cache_gib: {data.cache_gib} GiB hold no sample of {length / 2**20:.1f} MiB")
    key = hashlib.sha256(f"{_VERSION} {slots} {length} {content}".encode()).hexdigest()[:32]
    if data.cache == "disk":
        folder = Path(data.cache_dir).expanduser() if data.cache_dir else default_folder()
        path = folder / f"samsod-{key}.cache"
        _make_room(path, SlotFile.size(slots, length), int(data.cache_gib * _GIB))
        return SlotFile(path, slots, length, key)
    if not SHARED_MEMORY.is_dir():
        raise UserError(f"data.cache=memory needs {SHARED_MEMORY}, which this system lacks: use disk or none")
    # Ranks of one torchrun have one parent; a restart by it must not meet the file of the ranks before.
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    run = f"{os.getppid()}-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if ranks > 1 else str(os.getpid())
    path = SHARED_MEMORY / f"samsod-{run}-{key}.cache"
    _make_room(path, SlotFile.size(slots, length), 0)
    file = SlotFile(path, slots, length, key)
    file.forget_name(int(os.environ.get("LOCAL_RANK", "0")) if ranks > 1 else 0, ranks)
    return file


def default_folder() -> Path:
    """Samsod in the user's cache folder (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samsod"


class SlotFile:
    """Slots of one length in a file that several processes share; can be sent to other processes.

    Args:
        path: The file; made when it is not there, or is damaged.
        slots: How many there are.
        length: Bytes of each.
        key: What the content depends on.

    Raises:
        UserError: The file cannot be made.
    """

    def __init__(self, path: Path, slots: int, length: int, key: str) -> None:
        self.path, self.slots, self.length = str(path), slots, length
        self._header = f"samsod cache {_VERSION}\n{slots} x {length}\n{key}\n".encode().ljust(_PAGE, b"\0")
        self._is_full = False
        self._attach(self._opened(path))

    @staticmethod
    def size(slots: int, length: int) -> int:
        """Bytes of a file of so many slots."""
        return _content_at(slots) + slots * length

    def get(self, slot: int) -> Slot | None:
        """The content of a slot, read-only; None when there is no such slot, or nothing sound in it."""
        if slot >= self.slots:
            return None
        mark = int.from_bytes(self._map[_mark_at(slot) : _mark_at(slot) + _MARK], "little")
        if not mark:
            return None
        content = np.frombuffer(self._map, np.uint8, self.length, _content_at(self.slots) + slot * self.length)
        if not self._is_sound[slot]:
            self._is_sound[slot] = mark == _mark(content)
        return content if self._is_sound[slot] else None

    def put(self, slot: int, content: Slot) -> None:
        """Fills a slot, if there is one of that number; when the disk is full it says so once and stops filling."""
        if slot >= self.slots or self._is_full:
            return
        assert content.nbytes == self.length
        try:
            _write(self._file, content.data, _content_at(self.slots) + slot * self.length)
            _write(self._file, memoryview(_mark(content).to_bytes(_MARK, "little")), _mark_at(slot))
        except OSError as error:
            self._is_full = True
            print(f"note: {self.path}: {error.strerror}: nothing more is cached", file=sys.stderr, flush=True)

    def forget_name(self, rank: int, ranks: int) -> None:
        """Lets the file vanish with its last process, once all ranks of this machine have opened it."""
        _write(self._file, memoryview(b"\1"), _RANKS_AT + rank)
        if os.pread(self._file, ranks, _RANKS_AT) == b"\1" * ranks:
            Path(self.path).unlink(missing_ok=True)
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_file", "_map", "_is_sound")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._attach(os.open(self.path, os.O_RDWR | os.O_CLOEXEC))

    def _attach(self, file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_SH)  # as long as it is open, nobody takes it for left over
        self._file = file
        self._map = mmap.mmap(file, self.size(self.slots, self.length), access=mmap.ACCESS_READ)
        self._is_sound = bytearray(self.slots)

    def _opened(self, path: Path) -> int:
        for is_damaged in (False, True):
            if is_damaged or not path.exists():
                self._make(path)
            try:
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # another run took it for left over
            except OSError as error:
                raise UserError(f"{path}: the cache cannot be opened: {error.strerror}; set data.cache_dir") from None
            is_whole = os.fstat(file).st_size == self.size(self.slots, self.length)
            if is_whole and os.pread(file, _PAGE, 0) == self._header:
                os.utime(file)  # used now
                return file
            os.close(file)
            path.unlink(missing_ok=True)
        raise UserError(f"{path}: something else writes to this file; set data.cache_dir to another folder")

    def _make(self, path: Path) -> None:
        """Makes the file, empty, whole or not at all; when another process is faster, both use that one's."""
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(self._header)
            os.truncate(partial, self.size(self.slots, self.length))
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)
        except OSError as error:
            raise UserError(f"{path}: the cache cannot be made: {error.strerror}") from None
        finally:
            partial.unlink(missing_ok=True)


def _make_room(path: Path, size: int, most: int) -> None:
    """Makes the folder, and deletes caches that nobody has open until they and this one take at most `most`.

    Raises:
        UserError: The folder cannot be made, or there is too little room for a file that is not there yet.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        others = {other: other.stat() for other in path.parent.glob("samsod-*.cache") if other != path}
        taken = size + sum(stat.st_blocks * 512 for stat in others.values())
        for other in sorted(others, key=lambda other: others[other].st_mtime):
            if taken > most and _deleted_if_idle(other):
                taken -= others[other].st_blocks * 512
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise UserError(f"{path.parent}: the cache cannot be made there: {error.strerror}") from None
    if free < size and not path.exists():
        raise UserError(
            f"{path.parent}: {free / _GIB:.2f} GiB are free, and the cache may take {size / _GIB:.2f}: "
            "free some, or lower data.cache_gib"
        )


def _deleted_if_idle(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # another user's, or just deleted
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def _content_at(slots: int) -> int:
    return -(-_mark_at(slots) // _PAGE) * _PAGE


def _mark_at(slot: int) -> int:
    return _MARKS_AT + slot * _MARK


def _mark(content: Slot) -> int:
    return _FILLED | zlib.crc32(content.data)


def _write(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
