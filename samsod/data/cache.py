"""A cache of equally long pieces of data, shared by the loader processes and the ranks of a machine.

One file of a mark per slot and the slots, mapped into every process that reads it. In memory the file has no name, so
that it is gone with the last process, however that ends. On disk it stays for later runs; caches of this user that
nobody has open make room, the one used longest ago first.

A slot is written first, then its mark, which holds the content's checksum. So processes may fill the same slot at once
(they write the same bytes), and one that is half-written or damaged is found out when a process first reads it, and
filled anew. Nobody writes through the map: on a full disk that would kill the process, where `pwrite` says so.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from samsod.config.data_schema import DataConfig
from samsod.utils import distributed
from samsod.utils.errors import UserError, about, shown
from samsod.utils.files import cache_folder, expanded

Slot = npt.NDArray[np.uint8]

_MARK = 8
_FILLED = 1 << 32  # beside the checksum, so that the mark of a filled slot is never 0
_GIB = 2**30


def open_cache(data: DataConfig, content: str, samples: int, length: int) -> SlotFile:
    """Opens or makes the cache that `data.cache` asks for, in memory or on disk; all ranks must call it.

    Args:
        data: Where, and how large at most.
        content: Everything the content depends on.
        samples: How many slots are wanted; when not all fit, the first ones get them.
        length: Bytes of a slot.

    Raises:
        UserError: There is no room, or the file cannot be made.
    """
    most = int(data.cache_gib * _GIB)
    slots = min(samples, most // (length + _MARK))
    if slots < 1:
        raise UserError(f"data.cache_gib: {data.cache_gib} GiB hold no sample of {length / 2**20:.1f} MiB")
    if data.cache == "disk":
        key = hashlib.sha256(f"{slots} {length} {content}".encode(errors="surrogateescape")).hexdigest()[:32]
        folder = expanded(data.cache_dir) if data.cache_dir else cache_folder()
        _make_room(folder / f"samsod-{key}.cache", slots * (length + _MARK), most)
        return SlotFile(folder / f"samsod-{key}.cache", slots, length)
    return _shared_by_ranks(slots, length)


class SlotFile:
    """Slots of one length, in bytes, in a file that several processes share; can be sent to other processes.

    The file is made when it is not there, or is of another size.

    Raises:
        UserError: The file cannot be made.
    """

    def __init__(self, path: str | Path, slots: int, length: int) -> None:
        self.path, self.slots, self.length = str(path), slots, length
        self._file = self._opened(Path(path), slots * (length + _MARK))
        fcntl.flock(self._file, fcntl.LOCK_SH)  # as long as it is open, nobody takes it for left over
        content = np.asarray(np.memmap(self._file, np.uint8, "r"))
        self._marks, self._content = content[: slots * _MARK].view("<u8"), content[slots * _MARK :]
        self._is_sound = np.zeros(slots, np.bool_)
        self._is_full = False

    def __reduce__(self) -> tuple[type[SlotFile], tuple[str, int, int]]:
        return SlotFile, (self.path, self.slots, self.length)

    @classmethod
    def in_memory(cls, slots: int, length: int) -> SlotFile:
        """Slots in memory; other processes reach them by `path` while this one lives.

        Raises:
            UserError: There is too little memory, or the system is not Linux.
        """
        if not hasattr(os, "memfd_create"):
            raise UserError("data.cache=memory needs Linux: use disk or none")
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
        _check_room("data.cache=memory", int(found[1]) * 1024 if found else 0, slots * (length + _MARK))
        nameless = os.memfd_create("samsod")
        try:
            cache = cls(f"/proc/self/fd/{nameless}", slots, length)
        finally:
            os.close(nameless)
        cache.path = f"/proc/{os.getpid()}/fd/{cache._file.fileno()}"
        return cache

    def get(self, slot: int) -> Slot | None:
        """The content of a slot, read-only; None when there is no such slot, or nothing sound in it."""
        if slot >= self.slots or not (mark := int(self._marks[slot])):
            return None
        content = self._content[slot * self.length : (slot + 1) * self.length]
        self._is_sound[slot] = self._is_sound[slot] or mark == _mark(content)
        return content if self._is_sound[slot] else None

    def put(self, slot: int, content: Slot) -> None:
        """Fills a slot, if there is one of that number; when the disk is full it says so once and stops filling."""
        if slot >= self.slots or self._is_full:
            return
        assert content.nbytes == self.length
        try:
            self._write(content.data, self.slots * _MARK + slot * self.length)
            self._write(_mark(content).to_bytes(_MARK, "little"), slot * _MARK)
        except OSError as error:
            self._is_full = True
            print(f"note: {shown(self.path)}: {error.strerror}: nothing more is cached", file=sys.stderr, flush=True)

    def _write(self, data: memoryview | bytes, offset: int) -> None:
        if os.pwrite(self._file.fileno(), data, offset) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @staticmethod
    def _opened(path: Path, size: int) -> BinaryIO:
        try:
            for _ in range(2):
                file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
                found = os.fstat(file.fileno()).st_size
                if not found:  # new: whoever else finds it so makes it as long
                    os.truncate(file.fileno(), size)
                if found in (0, size):
                    os.utime(file.fileno())  # used now
                    return file
                path.unlink(missing_ok=True)
        except OSError as error:
            raise about(path, f"the cache cannot be made: {error.strerror}; set data.cache_dir") from None
        raise about(path, "something else writes to this file; set data.cache_dir to another folder")


def _shared_by_ranks(slots: int, length: int) -> SlotFile:
    """The first rank of a machine makes the cache in memory, the others open it."""
    machine = socket.gethostname(), os.environ.get("GROUP_RANK", "0")
    made, fault = None, ""
    if distributed.world_size() == 1 or os.environ.get("LOCAL_RANK", "0") == "0":
        try:
            made = SlotFile.in_memory(slots, length)
        except UserError as error:
            fault = str(error)
    offers = distributed.gather_objects((machine, made.path if made else "", fault))
    for *_, fault in offers:
        if fault:
            raise UserError(fault)
    return made or SlotFile(next(path for where, path, _ in offers if path and where == machine), slots, length)


def _make_room(path: Path, size: int, most: int) -> None:
    """Makes the folder, and deletes caches that nobody has open until they and this one take at most `most`.

    Raises:
        UserError: The folder cannot be made, or there is too little room for a file that is not there yet.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {other: other.stat() for other in path.parent.glob("samsod-*.cache") if other != path}
        mine = {other: stat for other, stat in found.items() if stat.st_uid == os.getuid()}
        taken = size + sum(stat.st_blocks * 512 for stat in mine.values())
        for other in sorted(mine, key=lambda other: mine[other].st_mtime):
            if taken > most and _deleted_if_idle(other):
                taken -= mine[other].st_blocks * 512
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise about(path.parent, f"the cache cannot be made there: {error.strerror}") from None
    if not path.exists():
        _check_room(shown(path.parent), free, size)


def _check_room(place: str, free: int, size: int) -> None:
    if free < size:
        raise UserError(
            f"{place}: {free / _GIB:.2f} GiB are free, and the cache may take {size / _GIB:.2f}: "
            "free some, or lower data.cache_gib"
        )


def _deleted_if_idle(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # in use, or just deleted
        return False
    return True


def _mark(content: Slot) -> int:
    return _FILLED | zlib.crc32(content.data)
