"""What PySODMetrics calls the further metrics, and how their values are had from it.

Run by the interpreter of its own environment too, so it imports nothing of samsod.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Map, truth and image, red first; uint8."""

HANDLERS = {
    "IoU": ("IOUHandler", "max mean adp bin"),
    "Dice": ("DICEHandler", "max mean adp bin"),
    "precision": ("PrecisionHandler", "max mean adp bin"),
    "recall": ("RecallHandler", "mean adp bin"),
    "specificity": ("SpecificityHandler", "mean adp bin"),
    "BER": ("BERHandler", "min mean adp bin"),
}
NAMES = (*HANDLERS, "SI-MAE", "SI-F", "MSIoU", "HCE", "CM", "CCM")
"""What it has, by our names; it lacks boundary IoU."""


class Opponent:
    """One metric of PySODMetrics over a number of images.

    Args:
        name: Ours.
    """

    def __init__(self, name: str) -> None:
        import py_sod_metrics  # type: ignore[import-not-found]

        wanted = {"with_dynamic": True, "with_adaptive": True, "with_binary": True}
        self.name = name
        self._read: Callable[[dict[str, Any]], list[float]] = lambda results: list(results.values())
        if name in HANDLERS:
            handler, kinds = HANDLERS[name]
            self._metric = py_sod_metrics.FmeasureV2({"it": getattr(py_sod_metrics, handler)(**wanted)})
            self._read = lambda results: _by_kind(results["it"], kinds)
        elif name == "SI-F":
            handler = py_sod_metrics.FmeasureHandler(**wanted, beta=0.3)
            self._metric = py_sod_metrics.SizeInvarianceFmeasureV2({"it": handler})
            self._read = lambda results: _by_object(results["it"])
        elif name == "MSIoU":
            self._metric = py_sod_metrics.MSIoU(**wanted)
            self._read = lambda results: _by_kind(results, "max mean adp bin")
        else:
            called = {"SI-MAE": "SizeInvarianceMAE", "HCE": "HumanCorrectionEffortMeasure"}
            called |= {"CM": "ContextMeasure", "CCM": "CamouflageContextMeasure"}
            self._metric = getattr(py_sod_metrics, called[name])()

    def step(self, triple: Triple) -> None:
        """Scores an image."""
        prediction, truth, photo = triple
        more = {"img": photo} if self.name == "CCM" else {}
        self._metric.step(prediction, truth, **more)

    def columns(self) -> list[float]:
        """The values of our columns, in order."""
        return [float(value) for value in self._read(self._metric.get_results())]


def made_photo(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """An image for the metric that looks at one, where there is none: made of a map and its truth."""
    return np.dstack([prediction, truth, 255 - prediction])


def values(name: str, triples: Sequence[Triple]) -> list[float] | None:
    """The columns of a set of images; None where the reference fails or gives nan."""
    opponent = Opponent(name)
    try:
        for triple in triples:
            opponent.step(triple)
        found = opponent.columns()
    except (AssertionError, ValueError):  # one of them is np.linalg.LinAlgError
        return None
    return found if np.isfinite(found).all() else None


def _by_kind(results: dict[str, Any], kinds: str) -> list[float]:
    curve = results["dynamic"]
    known = {"max": curve.max(), "min": curve.min(), "mean": curve.mean()}
    known |= {"adp": results["adaptive"], "bin": results["binary"]}
    return [known[kind] for kind in kinds.split()]


def _by_object(results: dict[str, Any]) -> list[float]:
    """Its curves are a list: for each image an array, objects × thresholds."""
    curves = results["dynamic"]
    largest = np.mean([curve.max(axis=-1).mean() for curve in curves])
    return [float(largest), float(np.mean([curve.mean() for curve in curves])), results["adaptive"], results["binary"]]
