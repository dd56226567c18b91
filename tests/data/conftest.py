"""Small data sets on disk for the tests of samsod.data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

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
