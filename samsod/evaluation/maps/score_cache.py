"""Scores kept on disk by what they were computed from, so that maps scored before are not scored again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from samsod.data import decoding
from samsod.data.decoding.images import cv2
from samsod.evaluation import metrics
from samsod.evaluation.metrics.choice import ImageScores, find_metric
from samsod.registry import METRICS
from samsod.utils.files import check_writable, code_digest

LIMIT = 50_000
"""Files kept at most, 4 KiB each and 2 KiB more for a further curve; about twelve methods on the RGB-T test sets."""


class ScoreCache:
    """A folder of scores, one file each.

    A file's name is the SHA-256 of the map's bytes, the truth's bytes (and the image's if a metric looks at it) and the
    code that reads and scores them, so nothing outdated is ever found. It holds what every metric gave that was asked
    for so far, and the SHA-256 of that; a damaged one counts as absent. Files appear whole, so any number of threads
    and runs may share a folder, which is made when needed. Beyond the limit the scores used least recently are deleted.

    Raises:
        UserError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        check_writable(folder)
        self.folder = folder
        self.limit = limit
        self._version = _code_version()
        self._digests: dict[Path, bytes] = {}
        self._grown = False

    def key(self, prediction: Path, truth: Path, photo: Path | None = None) -> str:
        """The name of a pair's scores; the photo is named when a metric looks at it.

        Raises:
            OSError: A file cannot be read.
        """
        parts = [self._version, _digest(prediction), *(self._digest_once(path) for path in (truth, photo) if path)]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def get(self, key: str) -> dict[str, np.ndarray]:
        """The scores of that name, by metric; empty when there are none or they are damaged."""
        path = self._path(key)
        try:
            scores = _unpacked(path.read_bytes())
            os.utime(path)  # it was used now
        except (OSError, ValueError):
            return {}
        return scores

    def put(self, key: str, scores: ImageScores) -> None:
        """Keeps scores; on a full disk or in a folder that was taken away they are not kept, which costs time only."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_packed(scores))
                os.replace(partial, path)
                self._grown = True
            except BaseException:
                os.unlink(partial)
                raise
        except OSError:
            return

    def prune(self) -> None:
        """Deletes the scores used least recently beyond the limit, and what a killed run left half-written.

        When nothing was put in, there is nothing to do.
        """
        if not self._grown:
            return
        used = []
        for path in self.folder.glob("??/*"):
            try:
                used.append((path.suffix != ".partial", path.stat().st_mtime_ns, path))
            except OSError:
                continue  # another run was faster
        # Half-written files sort first; one that is being written now is only written again.
        partial = sum(not whole for whole, _, _ in used)
        for _, _, path in sorted(used)[: max(partial, len(used) - self.limit)]:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]

    def _digest_once(self, path: Path) -> bytes:
        """Every method is scored against the same truths."""
        if path not in self._digests:
            self._digests[path] = _digest(path)
        return self._digests[path]


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _code_version() -> bytes:
    """Changes with the code that reads and scores maps, and with the libraries it computes with."""
    libraries = f"numpy {np.__version__} opencv {cv2.__version__}"
    return f"{code_digest(decoding, metrics)} {libraries}".encode()


def _packed(scores: ImageScores) -> bytes:
    sizes = json.dumps({name: values.size for name, values in scores.items()}).encode()
    content = b"\n".join([sizes, b"".join(values.astype("<f8").tobytes() for values in scores.values())])
    return hashlib.sha256(content).digest() + content


def _unpacked(data: bytes) -> dict[str, np.ndarray]:
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("damaged")
    header, _, numbers = content.partition(b"\n")
    sizes = json.loads(header)
    parts = np.split(np.frombuffer(numbers, "<f8").astype(np.float64), np.cumsum([*sizes.values()])[:-1])
    known = METRICS.names()  # a user's own metric may have gone, or changed
    scores = zip(sizes, parts, strict=True)
    return {name: values for name, values in scores if name in known and values.size == find_metric(name).size}
