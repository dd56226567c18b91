"""How fast the metrics are, and how far from PySODMetrics, measured in turns on the same maps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np

from samsod.benchmarks.reference import Pairs, Reference
from samsod.data.decoding.images import cv2, read_saliency, read_truth
from samsod.evaluation.maps.scoring import find_maps
from samsod.evaluation.metrics.saliency import ImageScores, score_image
from samsod.evaluation.tables.text import text_table
from samsod.utils.progress import progress

FIGURES = ("s", "mae", "wf", "adp_f", "adp_e", "f", "e", "precision", "recall")
OURS, REFERENCE, SHARED = "samsod", "PySODMetrics", "PySODMetrics, normalised once"


def generated_pairs(count: int, height: int = 480, width: int = 640) -> Pairs:
    """Soft, noisy maps of several discs and their truths, uint8; the same ones every time."""
    random = np.random.RandomState(0)
    rows, columns = np.ogrid[:height, :width]
    pairs = []
    for _ in range(count):
        soft, truth = np.zeros((height, width)), np.zeros((height, width), bool)
        for _ in range(random.randint(1, 4)):
            radius = random.randint(height // 16, height // 4)
            distance = np.hypot(rows - random.randint(height), columns - random.randint(width))
            truth |= distance < radius
            soft = np.maximum(soft, 1 / (1 + np.exp((distance - radius * random.uniform(0.7, 1.3)) / 8)))
        noisy = np.clip(soft * 255 + random.randn(height, width) * 3, 0, 255)
        pairs.append((noisy.astype(np.uint8), np.where(truth, 255, 0).astype(np.uint8)))
    return pairs


def folder_pairs(predictions: Path, truths: Path, count: int) -> Pairs:
    """The first pairs of a folder of maps and one of masks.

    Raises:
        UserError: They do not belong together or cannot be used.
    """
    (maps,) = find_maps({predictions.name: predictions}, {truths.name: truths})
    pairs = ((read_saliency(pair.prediction), read_truth(pair.truth)) for pair in maps.pairs[:count])
    return [(prediction, np.where(truth, 255, 0).astype(np.uint8)) for prediction, truth in pairs]


def measure(pairs: Pairs, rounds: int, reference: Path | None) -> str:
    """Times the metrics on one core, in turns with the reference, and compares every figure of every image.

    Args:
        pairs: Maps and truths, uint8.
        rounds: How often each scores all pairs; the median counts.
        reference: Interpreter of an environment with PySODMetrics; None times the project's own alone.

    Returns:
        A table of milliseconds a pair and, with a reference, one of the largest difference of each figure.

    Raises:
        UserError: The interpreter lacks PySODMetrics.
    """
    cv2.setNumThreads(0)
    arrays = [(prediction, truth > 128) for prediction, truth in pairs]
    ours = [score_image(*pair) for pair in arrays]
    ways: dict[str, Callable[[bool], float]] = {
        OURS: lambda weighted_f: _timed(lambda: [score_image(*pair, weighted_f) for pair in arrays])
    }
    if reference is None:
        return _speed_table(ways, len(pairs), rounds)
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{kind}{i}": array for i, pair in enumerate(pairs) for kind, array in zip("pt", pair, strict=True)}
        path = Path(folder, "pairs.npz")
        np.savez(path, **named)  # type: ignore[arg-type]
        with closing(Reference(reference, path)) as opponent:
            ways[REFERENCE] = lambda weighted_f: opponent.seconds(weighted_f, shared=False)
            ways[SHARED] = lambda weighted_f: opponent.seconds(weighted_f, shared=True)
            differences = _difference_table(ours, opponent.figures())
            return f"{_speed_table(ways, len(pairs), rounds)}\n\n{differences}"


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _speed_table(ways: Mapping[str, Callable[[bool], float]], count: int, rounds: int) -> str:
    kinds = {"S F E MAE": False, "and wF": True}
    times: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in ways for kind in kinds}
    for _ in progress(range(rounds), rounds, "measuring"):
        for way, kind in times:
            times[way, kind].append(ways[way](kinds[kind]) / count * 1e3)
    rows = []
    for way in ways:
        row = [way]
        for kind in kinds:
            figure = median(times[way, kind])
            row.append(f"{figure:.2f}")
            if REFERENCE in ways:
                row.append(f"{median(times[REFERENCE, kind]) / figure:.1f}x")
        rows.append(row)
    ratio = ["faster"] if REFERENCE in ways else []
    return text_table(["ms a map", *(cell for kind in kinds for cell in [kind, *ratio])], rows)


def _difference_table(ours: Sequence[ImageScores], reference: Sequence[Mapping[str, object]]) -> str:
    """The largest difference of each figure, over all images and for curves over all thresholds."""
    gaps = {
        name: [
            float(np.abs(np.asarray(getattr(one, name)) - np.asarray(other[name])).max())
            for one, other in zip(ours, reference, strict=True)
        ]
        for name in FIGURES
    }
    # The reference's S is nan where one of its regions is empty.
    row = [OURS, *(f"{np.nanmax(gap):.0e}" for gap in gaps.values())]
    return text_table([f"largest difference from {REFERENCE}", *FIGURES], [row])
