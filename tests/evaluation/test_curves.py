from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samsod.data.images import read_rgb
from samsod.errors import UserError
from samsod.evaluation.curves import curve, plot_runs, read_run, smoothed


def write_run(folder: Path, steps: int = 30) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(steps)
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        cosines = {pair: float(rng.uniform(-1, 1)) for pair in ("fusion-rgb", "fusion-thermal", "rgb-thermal")}
        ratio = None if step == 3 else 1.5
        rows.append(
            {"step": step, "loss": 5 / step, "gradient_ratio": ratio, "groups": {"decoder": {"cosines": cosines}}}
        )
        if step % 10 == 0:
            rows.append({"step": step, "validation": {"S": step / 100, "MAE": 0.1}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_curves_leave_out_what_is_not_there(tmp_path: Path) -> None:
    rows = read_run(write_run(tmp_path / "a"))
    assert curve(rows, "validation", "S") == ([10, 20, 30], [0.1, 0.2, 0.3])
    assert 3 not in curve(rows, "gradient_ratio")[0] and len(curve(rows, "gradient_ratio")[0]) == 29
    assert len(curve(rows, "groups", "decoder", "cosines", "rgb-thermal")[0]) == 30
    assert curve(rows, "nothing", "here") == ([], [])


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smoothed([1.0, 0.0], weight=0.5) == pytest.approx([1.0, 1 / 3])


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_is_drawn(tmp_path: Path, count: int) -> None:
    pytest.importorskip("matplotlib")
    runs = {name: read_run(write_run(tmp_path / name, 20 + i)) for i, name in enumerate("ab"[:count])}
    plot_runs(runs, tmp_path / "curves.png")
    picture = read_rgb(tmp_path / "curves.png")
    assert picture.shape[0] > 500 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_run(tmp_path)
    run = write_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\nnonsense\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not a JSON object"):
        read_run(run)
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="no step is logged yet"):
        read_run(run)
    original = builtins.__import__

    def without_matplotlib(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(UserError, match=r"samsod\[plot\]"):
        plot_runs({}, tmp_path / "curves.png")
