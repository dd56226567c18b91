"""What the bytes of an image file tell before it is decoded: whether they are whole, its orientation, a JPEG's size."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Literal

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# A marker that opens a segment or ends the image: not a stuffed FF00, not a restart marker, not fill bytes.
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_JPEG_END, _JPEG_SCAN, _JPEG_EXIF = 0xD9, 0xDA, 0xE1
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # those three hold tables
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of BigTIFF
_ORIENTATION = 274
_WIDTHS = {1: 1, 3: 2, 4: 4}  # bytes of a TIFF tag's types for whole numbers


def is_cut(data: bytes) -> bool:
    """Whether a JPEG, PNG or BMP ends too early; some versions of OpenCV fill the rest with grey and say nothing.

    TIFF needs no check: OpenCV refuses truncated ones.
    """
    if data.startswith(_JPEG_START):
        return not _jpeg_ends(data)
    if data.startswith(_PNG_START):
        return PNG_END not in data
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") > len(data)
    return False


def is_damaged(data: bytes) -> bool:
    """Whether a PNG holds other bytes than were written; other formats have no checksums to tell by.

    OpenCV only looks at some of the content of the chunks that make the picture.
    """
    if not data.startswith(_PNG_START):
        return False
    for kind, start, end in _png_chunks(data):
        makes_the_picture = kind.isupper() or not kind.isalpha()
        if makes_the_picture and zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return True
        if kind == b"IEND":
            return False
    return True


def orientation(data: bytes) -> int:
    """The orientation tag of a JPEG, PNG or TIFF (Exif): 1 is upright, as is a file without one."""
    tag = _orientation_tag(data)
    return int.from_bytes(*tag[1:]) if tag else 1


def upright(data: bytes) -> bytes:
    """A TIFF with its orientation tag, which OpenCV always obeys, set to 1; other files as they are."""
    tag = _orientation_tag(data) if data.startswith(_TIFF_STARTS) else None
    if tag is None:
        return data
    position, value, order = tag
    return data[:position] + (1).to_bytes(len(value), order) + data[position + len(value) :]


def _orientation_tag(data: bytes) -> tuple[int, bytes, Literal["little", "big"]] | None:
    """Where the value of the orientation tag stands, its bytes and their order."""
    start = _tiff_start(data)
    if start is None:
        return None
    order: Literal["little", "big"] = "little" if data[start : start + 2] == b"II" else "big"

    def number(position: int, width: int) -> int:
        return int.from_bytes(data[position : position + width], order)

    wide, count_width, entry_length = (8, 8, 20) if number(start + 2, 2) == 43 else (4, 2, 12)  # 43: BigTIFF
    entries = start + number(start + wide, wide)
    first = entries + count_width
    for entry in range(first, min(first + entry_length * number(entries, count_width), len(data)), entry_length):
        if number(entry, 2) == _ORIENTATION:
            position = entry + 4 + wide
            return position, data[position : position + _WIDTHS.get(number(entry + 2, 2), 2)], order
    return None


def _tiff_start(data: bytes) -> int | None:
    """Where a TIFF's content starts, which Exif in a JPEG or PNG is too."""
    if data.startswith(_TIFF_STARTS):
        return 0
    if data.startswith(_PNG_START):
        return next((start for kind, start, _ in _png_chunks(data) if kind == b"eXIf"), None)
    for marker, start in _jpeg_segments(data) if data.startswith(_JPEG_START) else ():
        if marker == _JPEG_EXIF and data[start + 2 : start + 8] == b"Exif\0\0":
            return start + 8
        if marker == _JPEG_SCAN:
            break
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each of a PNG's chunks, and where its content starts and ends."""
    position = len(_PNG_START)
    while position + 12 <= len(data):
        start = position + 8
        end = start + int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : start], start, end
        position = end + 4


def _jpeg_ends(data: bytes) -> bool:
    """Whether the end-of-image marker comes after the segments and scans.

    Segments are skipped by their length, so that an end marker of an embedded thumbnail is not taken for the
    image's, nor bytes that a camera appended for another scan.
    """
    # Ending on the marker is enough: were it a thumbnail's, there would be no scan yet, and decoding would fail.
    return data.endswith(b"\xff\xd9") or any(marker == _JPEG_END for marker, _ in _jpeg_segments(data))


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG, None for anything else."""
    if not data.startswith(_JPEG_START):
        return None
    for marker, start in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            height, width = data[start + 3 : start + 5], data[start + 5 : start + 7]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and start of each of a JPEG's segments."""
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        yield data[found.start() + 1], found.end()
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
