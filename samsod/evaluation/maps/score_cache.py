"""Scores kept on disk by what they were computed from, so that maps scored before are not scored again."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from samsod.data import decoding
from samsod.data.decoding.images import cv2
from samsod.evaluation import metrics
from samsod.evaluation.metrics.choice import further_metric
from samsod.evaluation.metrics.saliency import ImageScores
from samsod.utils.files import check_writable, code_digest

LIMIT = 50_000
"""Scores kept at most, 8 KiB each and 2 KiB more for a further curve; about twelve methods on the RGB-T test sets."""

_SINGLE, _CURVE = 5, 256
_SIZE = 32 + 8 * (_SINGLE + 4 * _CURVE)


class ScoreCache:
    """A folder of scores, one file each.

    A score's name is the SHA-256 of the map's bytes, the truth's bytes, the names of further metrics (and the image's
    bytes if one looks at it) and the code that reads and scores them, so nothing outdated is ever found. A file holds
    the SHA-256 of its content; a damaged one counts as absent. Files appear whole, so any number of threads and runs
    may share a folder, which is made when needed. Beyond the limit the scores used least recently are deleted.

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

    def key(self, prediction: Path, truth: Path, further: Sequence[str] = (), photo: Path | None = None) -> str:
        """The name of a pair's scores; the photo counts only when one of the further metrics looks at it.

        Raises:
            OSError: A file cannot be read.
        """
        parts = [self._version, _digest(prediction), self._digest_once(truth), *(name.encode() for name in further)]
        if photo and any(further_metric(name).needs_photo for name in further):
            parts.append(self._digest_once(photo))
        return hashlib.sha256(b"\0".join(parts) if further else b"".join(parts)).hexdigest()

    def get(self, key: str, weighted_f: bool = True, further: Sequence[str] = ()) -> ImageScores | None:
        """The scores of that name; None when there are none, they are damaged or lack the weighted F-measure."""
        path = self._path(key)
        try:
            scores = _unpacked(path.read_bytes(), further)
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
    values = [scores.s, scores.mae, math.nan if scores.wf is None else scores.wf, scores.adp_f, scores.adp_e]
    arrays = (scores.f, scores.e, scores.precision, scores.recall, *scores.further.values())
    content = struct.pack(f"<{_SINGLE}d", *values) + b"".join(array.astype("<f8").tobytes() for array in arrays)
    return hashlib.sha256(content).digest() + content


def _unpacked(data: bytes, further: Sequence[str]) -> ImageScores:
    sizes = [further_metric(name).size for name in further]
    if len(data) != _SIZE + 8 * sum(sizes) or hashlib.sha256(data[32:]).digest() != data[:32]:
        raise ValueError("damaged")
    numbers = np.frombuffer(data, "<f8", offset=32).astype(np.float64)
    s, mae, wf, adp_f, adp_e = (float(number) for number in numbers[:_SINGLE])
    curves, rest = np.split(numbers[_SINGLE:], [4 * _CURVE])
    f, e, precision, recall = curves.reshape(4, _CURVE)
    more = dict(zip(further, np.split(rest, np.cumsum(sizes)[:-1]), strict=True)) if further else {}
    return ImageScores(s, mae, None if math.isnan(wf) else wf, adp_f, adp_e, f, e, precision, recall, more)
