from __future__ import annotations

import pytest
import torch

from samsod.benchmarks.model import TIMED, time_model, timing_lines
from samsod.config import ModelConfig
from samsod.modeling.samsod import build_model


def test_what_is_measured(model_config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 10.0, 10.25, 20.0, 20.5, 30.0, 31.0])  # one slow start, then 0.25, 0.5 and 1 s
    monkeypatch.setattr("samsod.benchmarks.timing.time.perf_counter", lambda: next(clock))
    model = build_model(model_config).train()
    timing = time_model(model, 64, runs=3, warmup=1)
    assert (timing.fps, timing.milliseconds, timing.runs, timing.warmup) == (2.0, 500.0, 3, 1)
    assert 250 <= timing.milliseconds_10th < 500 < timing.milliseconds_90th <= 1000
    assert not model.training and timing.peak_memory_gib > 0
    lines = timing_lines(timing)
    assert "2 FPS: 500.0 ms" in lines and f"{torch.get_num_threads()} threads" in lines
    assert "batch 1, 64x64, fp32" in lines and TIMED in lines


def test_stops_early(model_config: ModelConfig) -> None:
    assert time_model(build_model(model_config), 64, runs=1000, warmup=1, seconds=0).runs == 3
