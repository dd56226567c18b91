"""Writes golden_metrics.json and golden_further.json: what PySODMetrics gives for the synthetic maps of `cases`.

The first holds the standard metrics, the second those that are computed when asked for, also for `larger_cases`.

To make it again, in an environment of its own (the reference needs scipy and scikit-image, samsod does not):

    python -m venv /tmp/reference && /tmp/reference/bin/pip install pysodmetrics==1.6.2
    /tmp/reference/bin/python tests/evaluation/metrics/make_golden_metrics.py

The maps come from integer arithmetic and `RandomState` streams alone, so they are the same in every environment;
the tests build them with this file's functions.
"""

from __future__ import annotations

import json
import runpy
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("golden_metrics.json")
GOLDEN_FURTHER = Path(__file__).with_name("golden_further.json")
REFERENCE = Path(__file__).parents[3] / "samsod" / "benchmarks" / "reference_metrics.py"
THRESHOLDS = (1, 128, 255)
DATA_SET = ("blob", "lines", "scene")
"""Truths whose cases make up the data set of the further metrics."""


def truths() -> dict[str, np.ndarray]:
    """Ground truths by name: uint8, 0 and 255, of several sizes."""
    return {
        "blob": _mask(_cone(41, 57, 17, 30, 12) > 0),
        "two blobs": _mask((_cone(33, 64, 10, 14, 9) > 0) | (_cone(33, 64, 20, 47, 11) > 0)),
        "greys": np.random.RandomState(3).randint(126, 131, (29, 31)).astype(np.uint8),
        "border": _mask((_cone(37, 43, 0, 5, 14) > 0) | (_cone(37, 43, 36, 42, 9) > 0)),
        "lines": _mask((_offsets(35, 49, 11, 0)[0] == 0) | (np.add(*_offsets(35, 49, 20, 20)) == 0)),
        "pixel": _mask(np.add(*np.abs(_offsets(15, 23, 6, 9))) == 0),
        "corner": _mask(np.add(*np.abs(_offsets(15, 23, 14, 22))) == 0),
        "hole": _mask(np.add(*np.abs(_offsets(16, 18, 9, 4))) != 0),
        "noise": _mask(np.random.RandomState(7).randint(0, 256, (24, 40)) > 150),
        "one column": _mask(np.arange(19)[:, None] > 11),
        "empty quarter": _mask((_cone(83, 61, 15, 48, 11) > 0) | (_cone(83, 61, 66, 10, 11) > 0)),
        "small": _mask(_cone(13, 10, 5, 4, 4) > 0),
        "black": _mask(np.zeros((25, 38), bool)),
        "white": _mask(np.ones((38, 25), bool)),
    }


def predictions(name: str, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Saliency maps by name for the truth `name`: uint8, of its shape."""
    height, width = truth.shape
    random = np.random.RandomState(zlib.crc32(name.encode()))
    soft = _cone(height, width, height // 2, width * 3 // 5, max(height, width) * 2 // 3)
    noise = random.randint(0, 256, truth.shape)
    close = np.where(truth > 128, 160, 40) + random.randint(-40, 41, truth.shape)
    return {
        "soft": soft,
        "noise": noise.astype(np.uint8),
        "close": close.astype(np.uint8),
        "tie": np.resize([110, 60, 60, 10, 10, 10, 10, 10], truth.shape).astype(np.uint8),  # 60 is twice the mean
        "near tie": np.resize([0, 0, 0, 0, 0, 76, 0, 76, 0, 228], truth.shape).astype(np.uint8),
        "binary": _mask(soft > 90),
        "equal": _mask(truth > 128),
        "inverted": _mask(truth <= 128),
        "all 77": np.full_like(truth, 77),
        "all 0": np.zeros_like(truth),
        "all 128": np.full_like(truth, 128),
        "all 255": np.full_like(truth, 255),
    }


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every prediction with its truth, by "truth / prediction"."""
    return {
        f"{name} / {kind}": (prediction, truth)
        for name, truth in truths().items()
        for kind, prediction in predictions(name, truth).items()
    }


def larger_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Maps with objects of several sizes, thin parts and long contours, by "truth / prediction"."""
    random = np.random.RandomState(11)
    objects = [_cone(150, 200, *place) > 0 for place in ((40, 50, 30), (100, 150, 38), (120, 40, 7), (20, 170, 3))]
    scene = np.logical_or.reduce(objects) & (_cone(150, 200, 100, 150, 15) == 0)
    rows, columns = _offsets(150, 200, 0, 0)
    scene |= (rows == 75) & (columns < 90) | ((rows - columns + 20) // 2 == 0) & (rows > 110)
    blocks = np.kron(random.randint(0, 2, (20, 30)), np.ones((8, 9), int)) > 0
    grain = blocks ^ (random.randint(0, 100, blocks.shape) < 3)
    slant = np.subtract(*_offsets(40, 60, 9, 13)) == 0
    slant &= _offsets(40, 60, 9, 13)[0] < 18
    found = {}
    for name, truth in (("scene", scene), ("grain", grain), ("slant", slant)):
        height, width = truth.shape
        near = truth * 170 + np.roll(truth, (4, -3), (0, 1)) * 60 + random.randint(0, 25, truth.shape)
        thin = truth & np.roll(truth, 5, 1)
        found[f"{name} / near"] = near.astype(np.uint8), _mask(truth)
        found[f"{name} / thin"] = (_mask(thin) // 2 + 20).astype(np.uint8), _mask(truth)
        found[f"{name} / one more"] = _mask(truth | (_cone(height, width, 30, 35, 20) > 0)), _mask(truth)
        found[f"{name} / noise"] = random.randint(0, 256, truth.shape).astype(np.uint8), _mask(truth)
        found[f"{name} / equal"] = _mask(truth), _mask(truth)
    return found


def photo(truth: np.ndarray) -> np.ndarray:
    """An image for a truth: coarse colours in which objects show a little, uint8 H×W×3."""
    height, width = truth.shape
    random = np.random.RandomState(height * width)
    coarse = random.randint(40, 160, (height // 6 + 1, width // 6 + 1, 3))
    colours = np.kron(coarse, np.ones((6, 6, 1), int))[:height, :width] + random.randint(0, 20, (height, width, 3))
    return (colours + (truth > 128)[..., None] * np.array([30, 5, 50])).astype(np.uint8)


def _offsets(height: int, width: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.ogrid[-row : height - row, -column : width - column]
    return np.broadcast_to(rows, (height, width)), np.broadcast_to(columns, (height, width))


def _cone(height: int, width: int, row: int, column: int, radius: int) -> np.ndarray:
    """255 at the centre, falling with the squared distance to 0 at the radius."""
    rows, columns = _offsets(height, width, row, column)
    return np.maximum(255 - 255 * (rows**2 + columns**2) // radius**2, 0).astype(np.uint8)


def _mask(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)


def reference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """PySODMetrics' values for a data set of (prediction, truth) pairs; None stands for its nan."""
    import py_sod_metrics  # type: ignore[import-not-found]

    names = ("Fmeasure", "Emeasure", "Smeasure", "WeightedFmeasure", "MAE")
    metrics = {name: getattr(py_sod_metrics, name)() for name in names}
    for prediction, truth in pairs:
        for metric in metrics.values():
            metric.step(prediction, truth)
    results: dict[str, Any] = {}
    for metric in metrics.values():
        results |= metric.get_results()
    # The reference's curves run from threshold 255 down to 0.
    curves = {"f": results["fm"]["curve"][::-1], "e": results["em"]["curve"][::-1]}
    curves |= {"precision": results["pr"]["p"][::-1], "recall": results["pr"]["r"][::-1]}
    values = {"S": results["sm"], "wF": results["wfm"], "MAE": results["mae"]}
    for name, entry in (("F", "fm"), ("E", "em")):
        curve = curves[name.lower()]
        values |= {f"max{name}": curve.max(), f"mean{name}": curve.mean(), f"adp{name}": results[entry]["adp"]}
    golden: dict[str, Any] = {key: None if np.isnan(value) else float(value) for key, value in values.items()}
    return golden | {key: [float(curve[t]) for t in THRESHOLDS] for key, curve in curves.items()}


def further() -> dict[str, dict[str, list[float] | None]]:
    """PySODMetrics' columns of the further metrics, by case; None where it fails."""
    values = runpy.run_path(str(REFERENCE))
    built = {**cases(), **larger_cases()}
    triples = {name: (prediction, truth, photo(truth)) for name, (prediction, truth) in built.items()}
    names = values["NAMES"]
    found = {case: {name: values["values"](name, [triple]) for name in names} for case, triple in triples.items()}
    some = [case for case in triples if case.split(" / ")[0] in DATA_SET]
    found["data set"] = {
        name: values["values"](name, [triples[case] for case in some if found[case][name] is not None])
        for name in names
    }
    return {
        case: {name: columns and [round(value, 10) for value in columns] for name, columns in by_metric.items()}
        for case, by_metric in found.items()
    }


def write(path: Path, golden: dict[str, Any]) -> None:
    """Writes a file, a case a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(values)}" for name, values in golden.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    """Writes both files."""
    warnings.simplefilter("ignore")  # means of empty regions, and a class the reference calls outdated
    built = cases()
    golden = {name: reference([pair]) for name, pair in built.items()}
    # Cases with a nan would make the data set's S nan.
    golden["data set"] = reference([built[name] for name, values in golden.items() if values["S"] is not None])
    write(GOLDEN, golden)
    write(GOLDEN_FURTHER, further())


if __name__ == "__main__":
    main()
