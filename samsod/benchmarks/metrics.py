"""How fast the metrics are, and how far from PySODMetrics, measured in turns on the same maps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from samsod.benchmarks import reference_metrics
from samsod.benchmarks.reference import Pairs, Reference
from samsod.data.decoding.images import cv2, read_saliency, read_truth
from samsod.evaluation.maps.scoring import find_maps
from samsod.evaluation.metrics.choice import QUICK, STANDARD, find_metric
from samsod.evaluation.metrics.saliency import ImageScores, SaliencyMetrics, score_image
from samsod.evaluation.metrics.subject import Subject
from samsod.evaluation.tables.text import text_table
from samsod.utils.progress import progress

COMPARED = (*STANDARD, "precision", "recall")
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


def measure(pairs: Pairs, rounds: int, reference: Path | None, further: Sequence[str] = ()) -> str:
    """Times the metrics on one core, in turns with the reference, and compares every value of every image.

    Args:
        pairs: Maps and truths, uint8.
        rounds: How often each scores all pairs; the median counts.
        reference: Interpreter of an environment with PySODMetrics; None times the project's own alone.
        further: Further metrics to time one by one, beside the histograms that are there anyway.

    Returns:
        A table of milliseconds a pair; with a reference, one of the largest difference of each value; and one of the
        further metrics.

    Raises:
        UserError: The interpreter lacks PySODMetrics.
    """
    cv2.setNumThreads(0)
    arrays = [(prediction, truth > 128) for prediction, truth in pairs]
    ours = [score_image(*pair, COMPARED) for pair in arrays]
    asked = {True: STANDARD, False: QUICK}
    ways: dict[str, Callable[[bool], float]] = {
        OURS: lambda weighted_f: _timed(lambda: [score_image(*pair, asked[weighted_f]) for pair in arrays])
    }
    if reference is None:
        return "\n\n".join([_speed_table(ways, len(pairs), rounds), *_further_tables(pairs, rounds, None, further)])
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{kind}{i}": array for i, pair in enumerate(pairs) for kind, array in zip("pt", pair, strict=True)}
        path = Path(folder, "pairs.npz")
        np.savez(path, **named)  # type: ignore[arg-type]
        with closing(Reference(reference, path)) as opponent:
            ways[REFERENCE] = lambda weighted_f: opponent.seconds(weighted_f, shared=False)
            ways[SHARED] = lambda weighted_f: opponent.seconds(weighted_f, shared=True)
            differences = _difference_table(ours, opponent.scores())
            more = _further_tables(pairs, rounds, opponent, further)
            return "\n\n".join([_speed_table(ways, len(pairs), rounds), differences, *more])


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
            value = median(times[way, kind])
            row.append(f"{value:.2f}")
            if REFERENCE in ways:
                row.append(f"{median(times[REFERENCE, kind]) / value:.1f}x")
        rows.append(row)
    ratio = ["faster"] if REFERENCE in ways else []
    return text_table(["ms a map", *(cell for kind in kinds for cell in [kind, *ratio])], rows)


def _difference_table(ours: Sequence[ImageScores], reference: Sequence[Mapping[str, list[float]]]) -> str:
    """The largest difference of each metric, over all images and thresholds that the reference has."""
    gaps = {
        name: [
            float(np.abs(one[name][: len(other[name])] - other[name]).max())
            for one, other in zip(ours, reference, strict=True)
        ]
        for name in COMPARED
    }
    # The reference's S is nan where one of its regions is empty.
    row = [OURS, *(f"{np.nanmax(gap):.0e}" for gap in gaps.values())]
    return text_table([f"largest difference from {REFERENCE}", *COMPARED], [row])


def _further_tables(pairs: Pairs, rounds: int, opponent: Reference | None, names: Sequence[str]) -> Iterator[str]:
    """A table of the further metrics, if any: milliseconds a pair and how far the columns are from the reference's."""
    if not names:
        return
    rows = []
    for name in progress(names, len(names), "further metrics"):
        times = [_seconds(name, pairs) / len(pairs) * 1e3 for _ in range(rounds)]
        row = [name, f"{median(times):.2f}"]
        if opponent:
            row += ["-"] * 3
        if opponent and name in reference_metrics.NAMES:
            seconds, theirs = opponent.further(name)
            slower = seconds / len(pairs) * 1e3
            gap = np.abs(np.subtract(_columns(name, pairs), theirs)).max() if theirs else np.nan
            row[2:] = [f"{slower:.2f}", f"{slower / median(times):.1f}x", f"{gap:.0e}"]
        rows.append(row)
    heading = ["ms a map", OURS, *([REFERENCE, "faster", "largest difference"] if opponent else [])]
    yield text_table(heading, rows)


def _seconds(name: str, pairs: Pairs) -> float:
    """CPU time of one metric over every pair, without counting grey levels."""
    metric = find_metric(name)
    subjects = [
        Subject(prediction, truth, photo)
        for prediction, truth in pairs
        for photo in [partial(reference_metrics.made_photo, prediction, truth)]
    ]
    return _timed(lambda: [metric.score(subject) for subject in subjects])


def _columns(name: str, pairs: Pairs) -> list[float]:
    metrics = SaliencyMetrics([name])
    for prediction, truth in pairs:
        metrics.step(prediction, truth, partial(reference_metrics.made_photo, prediction, truth))
    result = metrics.result()
    return [result[column] for column in find_metric(name).columns]
