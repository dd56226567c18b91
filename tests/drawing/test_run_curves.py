from __future__ import annotations

from pathlib import Path

import pytest

from samsod.drawing.run_curves import curve, read_run, smoothed
from samsod.utils.errors import UserError
from tests.runs import write_run


def test_curves_leave_out_what_is_not_there(tmp_path: Path) -> None:
    rows = read_run(write_run(tmp_path / "a"))
    assert curve(rows, "validation", "S") == ([10, 20, 30], [0.1, 0.2, 0.3])
    steps, _ = curve(rows, "gradient_ratios", "rgb/thermal")
    assert 3 not in steps and len(steps) == 29
    assert len(curve(rows, "groups", "decoder", "cosines", "rgb-thermal")[0]) == 30
    assert curve(rows, "nothing", "here") == ([], [])


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([1.0, 0.0], weight=0.5) == pytest.approx([1.0, 1 / 3])


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_run(tmp_path)
    run = write_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\nnonsense\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not a JSON object"):
        read_run(run)
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="no step is logged yet"):
        read_run(run)
