"""What the bytes of an image file tell before it is decoded: whether they are whole, and a JPEG's size."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# A marker that opens a segment or ends the image: not a stuffed FF00, not a restart marker, not fill bytes.
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_JPEG_END = 0xD9
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # those three hold tables


def is_cut(data: bytes) -> bool:
    """Whether a JPEG, PNG or BMP ends too early; some versions of OpenCV fill the rest with grey and say nothing.

    TIFF needs no check: OpenCV refuses truncated ones.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return not _jpeg_ends(data)
    if data.startswith(_PNG_START):
        return _PNG_END not in data
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") > len(data)
    return False


def _png_checksums(data: bytes) -> Iterator[bool]:
    """Whether the chunks that make the picture are as they were written; OpenCV only looks at some of their content."""
    position = len(_PNG_START)
    while position + 12 <= len(data):
        kind, end = (
            data[position + 4 : position + 8],
            position + 8 + int.from_bytes(data[position : position + 4], "big"),
        )
        if kind.isupper() or not kind.isalpha():
            yield zlib.crc32(data[position + 4 : end]) == int.from_bytes(data[end : end + 4], "big")
        if kind == b"IEND":
            return
        position = end + 4
    yield False


def is_damaged(data: bytes) -> bool:
    """Whether a PNG holds other bytes than were written; other formats have no checksums to tell by."""
    return data.startswith(_PNG_START) and not all(_png_checksums(data))


def _jpeg_ends(data: bytes) -> bool:
    """Whether the end-of-image marker comes after the segments and scans.

    Segments are skipped by their length, so that an end marker of an embedded thumbnail is not taken for the
    image's, nor bytes that a camera appended for another scan.
    """
    # Ending on the marker is enough: were it a thumbnail's, there would be no scan yet, and decoding would fail.
    return data.endswith(b"\xff\xd9") or any(marker == _JPEG_END for marker, _ in _jpeg_segments(data))


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG, None for anything else."""
    if not data.startswith(b"\xff\xd8\xff"):
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
