"""Writes golden_maps/: tiny maps of two methods on two data sets, their masks, and PySODMetrics' values for them.

To make them again, in the environment that make_golden_metrics.py describes:

    /tmp/reference/bin/python tests/evaluation/maps/make_golden_maps.py
"""

from __future__ import annotations

import json
import runpy
import warnings
from pathlib import Path

import cv2
import numpy as np

GOLDEN = Path(__file__).with_name("golden_maps")
METRICS = runpy.run_path(str(Path(__file__).parents[1] / "metrics" / "make_golden_metrics.py"))
SETS = {"Shapes-1": ["blob", "two blobs", "lines", "hole"], "edges": ["border", "pixel", "small", "black", "white"]}
METHODS = {"close": "close", "soft": "soft"}


def main() -> None:
    """Writes all; the sub-folders of one method are called a little otherwise than the sets."""
    warnings.simplefilter("ignore")
    cases = METRICS["cases"]()
    results: dict[str, dict[str, dict[str, float]]] = {method: {} for method in METHODS}
    for method, kind in METHODS.items():
        for dataset, truths in SETS.items():
            pairs = [cases[f"{truth} / {kind}"] for truth in truths]
            called = dataset if method == "close" else dataset.lower().replace("-", "_")
            for truth, (prediction, mask) in zip(truths, pairs, strict=True):
                stem = truth.replace(" ", "_")
                write(GOLDEN / "truths" / dataset / f"{stem}.png", mask)
                write(GOLDEN / method / called / f"{stem}.png", prediction)
            values = METRICS["reference"](pairs)
            results[method][dataset] = {
                name: value for name, value in values.items() if not isinstance(value, list)
            } | {"images": len(pairs)}
    (GOLDEN / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def write(path: Path, image: np.ndarray) -> None:
    """Writes a PNG and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
