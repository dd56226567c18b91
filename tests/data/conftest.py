"""Small data sets on disk for the tests of samsod.data."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from samsod.utils.errors import UserError
from tests.places import SHARED

WriteImage = Callable[..., Path]
MakeSet = Callable[..., Path]
OneLine = Callable[..., str]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the repository; tests that need it are skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real images in {folder}")
    return folder


@pytest.fixture
def write_image() -> WriteImage:
    """Writes an array (red first when it has three channels) by its file's ending, and returns the path."""

    def write(path: Path, image: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = image[..., ::-1] if image.ndim == 3 else image
        ok, data = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(stored))
        assert ok
        path.write_bytes(data.tobytes())
        return path

    return write


@pytest.fixture
def tag() -> Callable[..., Path]:
    """Gives a JPEG, PNG or TIFF an orientation tag, by default "turn a quarter", and returns its path."""

    def tagged(path: Path, orientation: int = 6, order: Literal["little", "big"] = "little") -> Path:
        def packed(*numbers: tuple[int, int]) -> bytes:
            return b"".join(number.to_bytes(width, order) for number, width in numbers)

        data = path.read_bytes()
        entry = packed((274, 2), (3, 2), (1, 4), (orientation, 2), (0, 2))
        exif = (b"II" if order == "little" else b"MM") + packed((42, 2), (8, 4), (1, 2)) + entry + bytes(4)
        if path.suffix == ".jpg":
            segment = b"Exif\0\0" + exif
            data = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
        elif path.suffix == ".png":
            chunk = b"eXIf" + exif
            data = data[:33] + len(exif).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:]
        else:  # OpenCV writes little-endian ones; its directory gets one more entry, at the file's end
            start = int.from_bytes(data[4:8], "little")
            count = int.from_bytes(data[start : start + 2], "little")
            entries = [data[start + 2 + 12 * i :][:12] for i in range(count)]
            entries = sorted([*entries, entry], key=lambda one: int.from_bytes(one[:2], "little"))
            directory = (count + 1).to_bytes(2, "little") + b"".join(entries) + bytes(4)
            data = data[:4] + len(data).to_bytes(4, "little") + data[8:] + directory
        path.write_bytes(data)
        return path

    return tagged


@pytest.fixture
def make_set(write_image: WriteImage) -> MakeSet:
    """Writes random pairs with a rectangle for truth; `folders` and `endings` are of RGB, thermal and truth."""

    def make(
        root: Path,
        stems: Iterable[str] = ("a", "b", "c"),
        folders: tuple[str, str, str] = ("RGB", "T", "GT"),
        endings: tuple[str, str, str] = (".jpg", ".png", ".png"),
        height: int = 16,
        width: int = 24,
    ) -> Path:
        rng = np.random.default_rng(0)
        for stem in stems:
            truth = np.zeros((height, width), np.uint8)
            truth[4:12, 6:18] = 255
            images = (
                rng.integers(0, 256, (height, width, 3), np.uint8),
                rng.integers(0, 256, (height, width), np.uint8),
                truth,
            )
            for folder, ending, image in zip(folders, endings, images, strict=True):
                write_image(root / folder / (stem + ending), image)
        return root

    return make


@pytest.fixture
def damage() -> Callable[[Path], Path]:
    """Overwrites a part of a JPEG's data, as a disk that fails would, and returns its path."""

    def damaged(path: Path) -> Path:
        data = path.read_bytes()
        middle, length = len(data) * 2 // 3, len(data) // 6
        path.write_bytes(data[:middle] + bytes(length) + data[middle + length :])
        return path

    return damaged


@pytest.fixture
def one_line() -> OneLine:
    """Calls a function that must raise a UserError of one line, and returns that line."""

    def call(function: Callable[..., object], *args: object, **kwargs: object) -> str:
        # Not pytest.raises: what it returns is in a cycle with this frame, and loader processes that only the
        # garbage collector finds take five seconds each to end.
        try:
            function(*args, **kwargs)
        except UserError as error:
            message = str(error)
        else:
            pytest.fail("no UserError was raised")
        assert message and "\n" not in message
        return message

    return call
