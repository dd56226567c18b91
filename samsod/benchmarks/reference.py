"""PySODMetrics as an opponent, run by the interpreter of another environment.

Its pins of OpenCV and NumPy clash with this project's. This file is also what that interpreter runs, so it imports
nothing of samsod at its top.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SETUP = "python3 -m venv reference && reference/bin/pip install pysodmetrics==1.6.2"
QUICK = ("Smeasure", "Fmeasure", "Emeasure", "MAE")

Scores = dict[str, list[float]]
"""An image's scores by samsod's names of the metrics; behind the 256 entries of F and E is that at the adaptive one."""


class Reference:
    """An interpreter that scores the same pairs again and again.

    Args:
        python: The interpreter.
        pairs: An .npz file of the pairs, arrays `p0`, `t0`, `p1`, ...

    Raises:
        UserError: It is none, or lacks PySODMetrics; the line says how to make the environment.
    """

    def __init__(self, python: Path, pairs: Path) -> None:
        from samsod.utils.errors import UserError

        command = [str(python), "-I", __file__, str(pairs)]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, text=True)
            self.version: str = self._answer()["version"]
        except (OSError, ValueError):
            raise UserError(f"{python}: no Python with PySODMetrics; make one: {SETUP}") from None

    def seconds(self, weighted_f: bool, shared: bool) -> float:
        """CPU time of scoring every pair once, without start-up, reading and passing on.

        Args:
            weighted_f: The weighted F-measure too.
            shared: Normalise a map once for all metrics, instead of in each as its documentation does.
        """
        return float(self._ask("time", weighted_f, shared))

    def scores(self) -> list[Scores]:
        """The scores of every pair."""
        scores: list[Scores] = self._ask("scores")
        return scores

    def further(self, name: str) -> tuple[float, list[float]]:
        """CPU time of one further metric over every pair, and its columns; see `reference_metrics`."""
        seconds, columns = self._ask("further", name)
        return float(seconds), columns

    def close(self) -> None:
        """Ends the interpreter."""
        self._process.communicate()

    def _ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


Pairs = list[tuple[np.ndarray, np.ndarray]]


def _serve(path: str) -> None:
    """Answers questions until there are no more."""
    warnings.simplefilter("ignore")
    from importlib.metadata import version

    import cv2

    cv2.setNumThreads(0)
    with np.load(path) as arrays:
        pairs = [(arrays[f"p{i}"], arrays[f"t{i}"]) for i in range(len(arrays.files) // 2)]
    metrics = runpy.run_path(str(Path(__file__).with_name("reference_metrics.py")))
    _measure(pairs[:1], True, False)  # loads what is loaded late
    print(json.dumps({"version": version("pysodmetrics")}), flush=True)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        if what == "time":
            started = time.process_time()
            _measure(pairs, *arguments)
            answer: Any = time.process_time() - started
        elif what == "further":
            triples = [(*pair, metrics["made_photo"](*pair)) for pair in pairs]
            started = time.process_time()
            columns = metrics["values"](*arguments, triples)
            answer = time.process_time() - started, columns or []
        else:
            answer = _scores(_measure(pairs, True, False))
        print(json.dumps(answer), flush=True)


def _measure(pairs: Pairs, weighted_f: bool, shared: bool) -> dict[str, Any]:
    """PySODMetrics' metric objects after all pairs."""
    import py_sod_metrics  # type: ignore[import-not-found]

    names = (*QUICK, "WeightedFmeasure") if weighted_f else QUICK
    metrics = {name: getattr(py_sod_metrics, name)() for name in names}
    for prediction, truth in pairs:
        if shared:
            prediction, truth = py_sod_metrics.utils.validate_and_normalize_input(prediction, truth, True)
        for metric in metrics.values():
            metric.step(prediction, truth, normalize=not shared)
    return metrics


def _scores(metrics: dict[str, Any]) -> list[Scores]:
    f, e, w = metrics["Fmeasure"], metrics["Emeasure"], metrics["WeightedFmeasure"]
    found = {"S": [metrics["Smeasure"].sms], "MAE": [metrics["MAE"].maes], "wF": [w.weighted_fms]}
    found |= {"F": [f.changeable_fms, f.adaptive_fms], "E": [e.changeable_ems, e.adaptive_ems]}
    found |= {"precision": [f.precisions], "recall": [f.recalls]}
    # The reference's curves run from threshold 255 down to 0.
    return [
        {name: np.concatenate([np.ravel(part[i])[::-1] for part in parts]).tolist() for name, parts in found.items()}
        for i in range(len(f.precisions))
    ]


if __name__ == "__main__":
    _serve(sys.argv[1])
