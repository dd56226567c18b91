"""Videos that tests make."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from samsod.data.decoding.images import Bytes, cv2


def moving(count: int, seed: int = 0, height: int = 48, width: int = 64) -> list[Bytes]:
    """Frames `[H,W,3]` in which a smooth pattern moves."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return [np.roll(smooth, 2 * index, axis=1) for index in range(count)]


def film_of(path: Path, frames: list[Bytes], rate: float = 25, codec: str = "MJPG") -> Path:
    """Writes a video as a camera would; in MJPG every frame stands for itself."""
    size = frames[0].shape[1], frames[0].shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def damage(path: Path, start: int, length: int) -> Path:
    """Overwrites some bytes of a video."""
    content = bytearray(path.read_bytes())
    content[start : start + length] = np.random.default_rng(1).integers(0, 256, length, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    return path


def damage_frame(path: Path, index: int) -> Path:
    """Overwrites some bytes in the middle of a frame of an AVI."""
    content = path.read_bytes()
    start = [found.end() for found in re.compile(b"00dc").finditer(content, content.index(b"movi"))][index]
    size = int.from_bytes(content[start : start + 4], "little")
    return damage(path, start + size // 2, 40)
