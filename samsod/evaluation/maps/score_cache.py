"""Scores kept on disk by what they were computed from, so that maps scored before are not scored again."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from samsod.data.decoding import images
from samsod.evaluation.metrics import distance, histograms, weighted_f
from samsod.evaluation.metrics import saliency as metrics
from samsod.evaluation.metrics.saliency import ImageScores
from samsod.utils.files import check_writable

LIMIT = 50_000
"""Scores kept at most, 8 KiB each; about twelve methods on the three RGB-T test sets."""

_FIGURES, _CURVE = 5, 256
_SIZE = 32 + 8 * (_FIGURES + 4 * _CURVE)


class ScoreCache:
    """A folder of scores, one file each.

    A score's name is the SHA-256 of the map's bytes, the truth's bytes and the code that reads and scores them, so
    nothing outdated is ever found. A file holds the SHA-256 of its content; a damaged one counts as absent. Files
    appear whole, so any number of processes and runs may share a folder. The scores used least recently are deleted.

    Args:
        folder: Where the scores lie; made when needed.
        limit: How many scores to keep.

    Raises:
        UserError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        check_writable(folder)
        self.folder = folder
        self.limit = limit
        self._version = _code_version()
        self._digests: dict[Path, bytes] = {}

    def key(self, prediction: Path, truth: Path) -> str:
        """The name of a pair's scores.

        Raises:
            OSError: A file cannot be read.
        """
        return hashlib.sha256(self._version + _digest(prediction) + self._truth_digest(truth)).hexdigest()

    def get(self, key: str, weighted_f: bool = True) -> ImageScores | None:
        """The scores of that name; None when there are none, they are damaged or lack the weighted F-measure."""
        path = self._path(key)
        try:
            scores = _unpacked(path.read_bytes())
            os.utime(path)  # it was used now
        except (OSError, ValueError):
            return None
        if weighted_f:
            return scores if scores.wf is not None else None
        return replace(scores, wf=None)

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
            except BaseException:
                os.unlink(partial)
                raise
        except OSError:
            return

    def prune(self) -> None:
        """Deletes the scores used least recently beyond the limit, and what a killed run left half-written."""
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

    def _truth_digest(self, truth: Path) -> bytes:
        """Every method is scored against the same truths."""
        if truth not in self._digests:
            self._digests[truth] = _digest(truth)
        return self._digests[truth]


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _code_version() -> bytes:
    """Changes with the code of the readers and metrics, and with the libraries they compute with."""
    sources = [
        Path(str(module.__file__)).read_bytes() for module in (images, metrics, histograms, weighted_f, distance)
    ]
    libraries = f"numpy {np.__version__} opencv {images.cv2.__version__}".encode()
    return hashlib.sha256(b"\0".join([*sources, libraries])).digest()


def _packed(scores: ImageScores) -> bytes:
    figures = [scores.s, scores.mae, math.nan if scores.wf is None else scores.wf, scores.adp_f, scores.adp_e]
    curves = (scores.f, scores.e, scores.precision, scores.recall)
    content = struct.pack(f"<{_FIGURES}d", *figures) + b"".join(curve.astype("<f8").tobytes() for curve in curves)
    return hashlib.sha256(content).digest() + content


def _unpacked(data: bytes) -> ImageScores:
    if len(data) != _SIZE or hashlib.sha256(data[32:]).digest() != data[:32]:
        raise ValueError("damaged")
    numbers = np.frombuffer(data, "<f8", offset=32).astype(np.float64)
    s, mae, wf, adp_f, adp_e = (float(number) for number in numbers[:_FIGURES])
    f, e, precision, recall = numbers[_FIGURES:].reshape(4, _CURVE)
    return ImageScores(s, mae, None if math.isnan(wf) else wf, adp_f, adp_e, f, e, precision, recall)
