"""The metrics' benchmark as a command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from samsod.benchmarks.metrics import generated_pairs, measure
from samsod.benchmarks.reference import Reference
from samsod.evaluation.metrics.choice import STANDARD
from samsod.registry import METRICS
from tests.tools.test_commands import command, fault

FEW = ("--count", 2, "--rounds", 1)


def test_without_a_reference_only_our_own_are_timed() -> None:
    done = command("bench_metrics", *FEW, "--metrics", "IoU,BIoU")
    assert done.returncode == 0, done.stderr
    assert "pip install pysodmetrics" in done.stderr
    lines = done.stdout.splitlines()
    ours, *further = (line.split() for line in lines[3:] if line)
    assert ours[0] == "samsod" and all(float(milliseconds) > 0 for milliseconds in ours[1:])
    assert [words[0] for words in further[2:]] == ["IoU", "BIoU"] and float(further[-1][1]) > 0


def test_an_environment_without_pysodmetrics_is_named() -> None:
    fault(command("bench_metrics", *FEW, "--reference", sys.executable), "no Python with PySODMetrics", "pip install")
    fault(command("bench_metrics", "--pred", "x"), "--pred and --gt go together")


def test_the_reference_agrees_and_is_timed(tmp_path: Path) -> None:
    """Runs where SAMSOD_REFERENCE names an interpreter with PySODMetrics."""
    python = os.environ.get("SAMSOD_REFERENCE")
    if not python:
        pytest.skip("SAMSOD_REFERENCE names no interpreter with PySODMetrics")
    names = [name for name in METRICS.names() if name not in STANDARD]
    table, differences, further = measure(generated_pairs(2, 120, 160), 1, Path(python), names).split("\n\n")
    assert all(float(gap) < 1e-6 for gap in differences.splitlines()[-1].split()[1:]) and "faster" in table
    gaps = {line.split()[0]: line.split()[-1] for line in further.splitlines()[2:]}
    assert list(gaps) == list(names) and gaps.pop("BIoU") == "-"
    assert all(float(gap) < 1e-6 for gap in gaps.values())
    pairs = generated_pairs(1, 48, 64)
    np.savez(tmp_path / "pairs.npz", p0=pairs[0][0], t0=pairs[0][1])
    reference = Reference(Path(python), tmp_path / "pairs.npz")
    assert reference.version == "1.6.2"
    assert reference.seconds(weighted_f=True, shared=True) > 0
    assert len(reference.scores()[0]["F"]) == 257
    reference.close()
