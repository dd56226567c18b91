"""What is made of measured times, and that a whole measurement gives all figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import getgeneratorstate
from typing import Any

import pytest
import torch

from samsod.benchmarks import by_part, report
from samsod.benchmarks.by_part import (
    FORWARD,
    MATRIX,
    PLAIN_FORWARD,
    PLAIN_STEP,
    SIDE,
    STEP,
    UNCOMPILED_FORWARD,
    UNCOMPILED_STEP,
    MatrixProduct,
    add_times,
    matrix_product,
    measure,
)
from samsod.benchmarks.step import SteppedTrainer, synthetic_trainer
from samsod.benchmarks.surgery import OURS
from samsod.benchmarks.timing import Work
from samsod.config import Config, RuleConfig
from samsod.utils.errors import UserError

CPU = torch.device("cpu")
SECONDS = {
    MATRIX: [1.0, 2.0],
    FORWARD: [3.0, 3.0],
    STEP: [8.0, 8.0],
    PLAIN_FORWARD: [6.0, 9.0],
    PLAIN_STEP: [16.0, 8.0],
    UNCOMPILED_STEP: [9.0, 14.0],
}


def test_times_become_ratios_round_by_round() -> None:
    """16 multiply-adds at 4 in 1 s and then in 2 s: 4 s and 8 s; of the step 2 s and 1 s are spent waiting."""
    figures: dict[str, Any] = {"macs": 16}
    product = MatrixProduct(lambda: None, 4, torch.float32)
    add_times(figures, SECONDS, product, STEP, [2.0, 1.0])
    assert figures["seconds"]["median"] == 8 and figures["floor_seconds"]["median"] == 6
    assert figures["to_floor"]["median"] == pytest.approx((6 / 4 + 7 / 8) / 2)
    assert figures["plain_seconds"]["median"] == 12
    assert figures["plain_to_ours"]["median"] == pytest.approx((16 / 6 + 8 / 7) / 2)
    assert figures["uncompiled_to_ours"]["median"] == pytest.approx((9 / 6 + 14 / 7) / 2)


@pytest.fixture
def given_times(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two rounds that take `SECONDS`; the names of what was timed."""
    names: list[str] = []

    def in_turns(works: Mapping[str, Work], *_: object) -> dict[str, list[float]]:
        names.extend(works)
        for work in (*works.values(), works.get(STEP, lambda: None)):
            work()
        return {name: SECONDS.get(name, [0.5, 0.5]) for name in works}

    monkeypatch.setattr(by_part, "in_turns", in_turns)
    monkeypatch.setattr(by_part, "SIDE", 32)
    return names


def test_figures_and_lines_of_given_times(config: Config, given_times: list[str]) -> None:
    config.train.batch_size = 2
    made = report.part_report(config, CPU, 2, 60.0, lambda: synthetic_trainer(config, CPU), True)
    figures = json.loads(json.dumps(made.figures))
    step, forward = figures[STEP], figures[FORWARD]
    assert given_times[:3] == [MATRIX, FORWARD, STEP] and {PLAIN_FORWARD, PLAIN_STEP, OURS} <= set(given_times)
    assert figures[MATRIX] == {"flops_per_second": figures[MATRIX]["flops_per_second"], "type": "float32"}
    assert figures[MATRIX]["flops_per_second"]["median"] == 1.5 * 32**3
    assert step["to_floor"]["median"] == pytest.approx((8 + 4) / 2 * 32**3 / step["macs"])
    assert forward["plain_to_ours"]["median"] == 2.5
    assert step["images"] == 2 and step["images_per_second"]["median"] == 0.25
    assert 0 < step["surgery_share"]["median"] < 1
    assert forward["host_reads"] == step["host_reads"] == 0
    assert step["macs"] > 2 * 2 * forward["macs"] > 0
    assert step["operators"] > step["views"] > 0 and step["peak_memory_gib"] > 0
    assert figures["ranks"] == 1 and figures["precision"] == "fp32"
    starts = [line.strip().split("  ")[0] for line in made.lines.splitlines()]
    order = ["wait for data (ms)", "forward (ms)", "losses (ms)", "backward of fusion (ms)", "backward of rgb (ms)"]
    order += ["backward of thermal (ms)", "reduce (ms)", "Gram (ms)", "weights (ms)", "merge (ms)", "optimizer (ms)"]
    assert [start for start in starts if start in order] == order
    (line,) = [line.split() for line in made.lines.splitlines() if line.startswith("step, 2 pairs on 1 rank (ms)")]
    assert line[-5:] == ["8000", "8000", "to", "8000", "2"]


def test_what_is_compiled_is_timed_uncompiled_too(
    config: Config, given_times: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In uncompiled turns nothing compiled runs, in the others all of it."""
    ran: list[str] = []

    def compiled_form(method: Callable[..., Any], **_: object) -> Callable[..., Any]:
        def compiled(*args: Any) -> Any:
            ran.append("compiled")
            return method(*args)

        return compiled

    monkeypatch.setattr(torch, "compile", compiled_form)
    monkeypatch.setattr("samsod.engine.compiling.compile_fault", lambda device: "")
    config.train.batch_size, config.engine.compile = 1, "encode+decode"
    made = report.part_report(config, CPU, 2, 60.0, lambda: synthetic_trainer(config, CPU), False)
    step = made.figures[STEP]
    assert {UNCOMPILED_FORWARD, UNCOMPILED_STEP} <= set(given_times)
    assert step["uncompiled_seconds"]["median"] == 11.5 and step["first_seconds"] > 0
    assert step["uncompiled_to_ours"]["median"] == pytest.approx((9 / 8 + 14 / 8) / 2, rel=1e-2)
    assert "uncompiled (ms)" in made.lines and "the first, with compiling (s)" in made.lines
    # Each once to warm up, once counted, once timed; the step, as the fixture has it, twice. In training two modalities
    # are encoded and three streams decoded one by one, since the encoder is trained; in prediction both as one.
    assert len(ran) == 3 * (1 + 1) + 4 * (2 + 3)


def test_forward_alone_and_another_rule(config: Config, given_times: list[str]) -> None:
    config.train.batch_size = 1
    assert measure(config, CPU, 2).keys() == {FORWARD, MATRIX, "device", "precision", "ranks"}
    given_times.clear()
    config.engine.gradient_rule = RuleConfig("ogm")
    stepped = synthetic_trainer(config, CPU)
    assert not measure(config, CPU, 2, stepped=stepped)["surgery"] and given_times == [MATRIX, FORWARD, STEP]
    with pytest.raises(UserError, match="have pcgrad only, not ogm"):
        measure(config, CPU, 2, stepped=stepped, reference=True)


def test_the_trainer_is_closed_however_it_ends(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(stepped: SteppedTrainer) -> None:
        stepped.fetch()
        raise KeyError("oops")

    stepped = synthetic_trainer(config, CPU)
    monkeypatch.setattr(SteppedTrainer, "step", fail)
    with pytest.raises(KeyError, match="oops"):
        report.part_report(config, CPU, 1, 60.0, lambda: stepped, False)
    assert getgeneratorstate(stepped.batches) == "GEN_CLOSED"


def test_the_product_is_of_the_forward_type() -> None:
    assert SIDE == 2048
    product = matrix_product(CPU, "bf16")
    assert product.kind == torch.float32 and product.macs == SIDE**3


def test_batches_in_turns(config: Config) -> None:
    made = report.batch_report(config, CPU, [1, 3], 2, 60.0)
    assert [row["batch"] for row in made.figures["batches"]] == [1, 3]
    for row in made.figures["batches"]:
        assert row["images_per_second"]["median"] > 0 and row["seconds"]["runs"] == 2
    assert [line.split()[0] for line in made.lines.splitlines()[2:]] == ["1", "3"]
