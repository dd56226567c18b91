"""The scaling table against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from samsod.benchmarks.cost import cost
from samsod.benchmarks.counts import counted
from samsod.benchmarks.scaling import (
    backward_macs,
    block_by_block,
    exposed_seconds,
    ring_bytes,
    row_bytes,
    scaling,
    scaling_lines,
)
from samsod.config import ModelConfig
from samsod.engine.passes import Passes
from samsod.modeling.samsod import FUSION, build_model
from samsod.surgery.rows import GradientRows


def test_bytes_of_a_ring() -> None:
    assert [ring_bytes(64, ranks) for ranks in (1, 2, 4, 8, 64)] == [0, 64, 96, 112, 126]


@pytest.mark.parametrize(
    ("backward", "sending", "left"),
    [
        ([1, 1, 1], [0.5, 0.5, 0.5], 0.5),  # each is gone before the next is ready: only the last is left
        ([1, 1, 1], [2, 2, 2], 4.0),  # the link is never free: 1 + 6 - 3
        ([1, 1, 5], [2, 2, 2], 2.0),  # it catches up during the long last pass
        ([1, 1, 1], [0, 0, 0], 0.0),
        ([3], [2], 2.0),
    ],
)
def test_what_sending_leaves(backward: list[float], sending: list[float], left: float) -> None:
    assert exposed_seconds(backward, sending) == left


def test_rows_are_those_of_the_groups(model_config: ModelConfig) -> None:
    model = build_model(model_config)
    width = {g.name: sum(p.numel() for p in g.parameters) for g in model.parameter_groups()}
    shared = width["decoder"] + width["encoder"]
    both = width["rgb_adapter"] + width["thermal_adapter"]
    expected = {
        FUSION: both + shared,
        "rgb": width["rgb_adapter"] + shared,
        "thermal": width["thermal_adapter"] + shared,
    }
    assert row_bytes(model.parameter_groups()) == {name: 4 * count for name, count in expected.items()}
    assert row_bytes(model.parameter_groups(), 2)[FUSION] == 2 * expected[FUSION]


def test_the_table_by_hand() -> None:
    # Passes of 2 * 1e12 / 2e12 = 1 s each; at 4 ranks 2 * 3/4 of 4, 2 and 2 GB: 6, 3 and 3 s at 1 GB/s.
    rows = {"fusion": 4_000_000_000, "rgb": 2_000_000_000, "thermal": 2_000_000_000}
    table = scaling(rows, 1e12, [1e12] * 3, rate=2, links=[1, 100])
    assert [(row["ranks"], row["link"]) for row in table[:4]] == [(1, 1), (1, 100), (2, 1), (2, 100)]
    one, slow, fast = table[0], table[4], table[5]
    assert (one["bytes"], one["reduce_seconds"], one["exposed_seconds"]) == (0, 0, 0)
    assert slow == {
        "ranks": 4,
        "link": 1,
        "bytes": 12e9,
        "compute_seconds": 4.0,
        "reduce_seconds": 12.0,
        "exposed_seconds": 10.0,  # the link is busy from the first second on: 1 + 12 - 3
    }
    assert fast["reduce_seconds"] == pytest.approx(0.12) and fast["exposed_seconds"] == pytest.approx(0.03)
    lines = scaling_lines(table, rows, 2, 1).splitlines()
    assert "rows of 8000.0 MB (fusion 4000.0, rgb 2000.0, thermal 2000.0)" in lines[0] and "4e+03 ms" in lines[0]
    four = next(line.split() for line in lines if line.startswith("4 "))
    assert four == ["4", "12000.0", "12000.00", "+300.0%", "+250.0%", "120.00", "+3.0%", "+0.7%"]


def test_block_by_block_all_rows_are_complete_together() -> None:
    parts = {name: {"macs_with_attention": macs} for name, macs in (("trunk", 7), ("neck", 20), ("adapters", 3))}
    rows, backward = block_by_block({"fusion": 4, "rgb": 2}, [100.0, 50.0], 2, parts)
    assert rows == {"all losses": 6} and backward == [150 + 2 * (7 + 3)]
    assert exposed_seconds(backward, [9.0]) == 9


@pytest.mark.parametrize(("frozen", "least"), [(True, 0.75), (False, 0.95)])
def test_backward_passes_are_about_what_is_counted(model_config: ModelConfig, frozen: bool, least: float) -> None:
    """Of a frozen encoder, what comes before the first adapter is passed over: in this small one a quarter."""
    model_config.freeze_encoder = frozen
    model = build_model(model_config)
    groups = model.parameter_groups()
    estimate = backward_macs(cost(model, 64)["parts"], model_config, list(row_bytes(groups)))
    model.train()
    passes = Passes(model, torch.device("cpu"), "fp32")
    prediction = passes.forward({name: torch.randn(1, 3, 64, 64) for name in model.modalities})
    losses = {name: logits.sum() for name, logits in prediction.streams.items()}
    rows = GradientRows(groups, figures=0, differentiate=passes.differentiate)
    found = counted(lambda: rows.accumulate(losses)).macs
    assert least * sum(estimate) < found < 1.01 * sum(estimate)
