"""A run on a device that is not the CPU, to the end: what a GPU would refuse, or wait for in a plain step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from samsod.config import Config, EngineConfig, TrunkConfig
from samsod.data.sources.catalog import find_set
from samsod.engine import trainer
from samsod.engine.launch import launch
from samsod.engine.status import Status
from samsod.evaluation.evaluator import evaluate
from samsod.modeling.samsod import build_model
from samsod.utils.maps import FINAL
from samsod.workflows import make_trainer
from tests.accelerator import DEVICE, Accelerator, DeviceAdam, on_cpu
from tests.training import run


@pytest.fixture
def small(config: Config) -> Config:
    """Two steps an epoch; a log line, a checkpoint and an evaluation after the second and after the last."""
    config.model = replace(config.model, freeze_encoder=True, trunk=TrunkConfig(stages=[1, 1, 1, 1]))
    config.model.trunk.global_att_blocks = [2]
    config.train = replace(config.train, log_every=2, clip_norm=1.0)
    return config


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    """The device, with what it lacks put in its place: the fused optimizer, and saving."""
    build, save = trainer.build_optimizer, torch.save

    def build_fused(groups: Any, train: Any) -> DeviceAdam:
        optimizer = build(groups, train)
        assert all(group["fused"] for group in optimizer.param_groups)
        return DeviceAdam(optimizer.param_groups)

    monkeypatch.setattr(trainer, "build_optimizer", build_fused)
    monkeypatch.setattr(torch, "save", lambda content, *where: save(on_cpu(content), *where))
    return Accelerator()


def train_there(accelerator: Accelerator, config: Config, asked_to_stop: bool = False) -> None:
    """Trains on the device. Only starting, logging, saving and evaluating may wait for it."""
    cpu = replace(config, engine=replace(config.engine, device="cpu"))
    with launch(cpu), accelerator.running() as device:
        made, _ = accelerator.may_wait(make_trainer)(config, device)
        made.stop.asked = asked_to_stop
        made.saver.start = accelerator.may_wait(made.saver.start)
        for name in ("_log", "_save", "_evaluate"):
            setattr(made, name, accelerator.may_wait(getattr(made, name)))
        made.train()


def logged(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("precision", "checkpointing"), [("fp32", "none"), ("bf16", "none"), ("fp16", "none"), ("fp16", "block")]
)
def test_a_run_is_resumed_and_ends_without_a_fault(
    accelerator: Accelerator, small: Config, tmp_path: Path, precision: Any, checkpointing: Any
) -> None:
    engine = EngineConfig(precision=precision, checkpointing=checkpointing)
    there = replace(small, output=str(tmp_path / "there"), engine=engine)
    train_there(accelerator, replace(there, train=replace(there.train, steps=2)))
    train_there(accelerator, there, asked_to_stop=True)
    assert accelerator.faults == [] and accelerator.operators > 1000
    assert "resumed from" in (tmp_path / "there" / "log.txt").read_text()
    run(small)
    rows, expected = logged(there), logged(small)
    assert [row["step"] for row in rows] == [2, 2, 3, 3] and [row["step"] for row in expected] == [2, 2, 3, 3]
    for row, plain in zip(rows, expected, strict=True):
        if "loss" in row:  # the values are true ones
            assert row["loss"] == pytest.approx(plain["loss"], rel=1e-5 if precision == "fp32" else 1e-2)
        else:
            assert row["validation"]["MAE"] == pytest.approx(plain["validation"]["MAE"], abs=1e-2)


def test_prediction_waits_for_nothing_but_its_own_maps(accelerator: Accelerator, small: Config, tmp_path: Path) -> None:
    """The batches come from pinned memory, and the next one is on the device before the last one's maps are read."""
    order: list[str] = []
    small.test.batch_size = 4
    model = build_model(small.model).eval()
    pairs = find_set(small.data.test[0], "", small.model.modalities)
    expected = evaluate(model, pairs, small)[FINAL].result()
    with accelerator.running() as device:
        model = accelerator.may_wait(model.to)(device)
        model.register_forward_hook(lambda *_: order.append("forward"))
        found = evaluate(model, pairs, small, save=lambda stem, _: order.append(stem))[FINAL].result()
    assert accelerator.faults == [] and accelerator.operators > 300
    assert found == pytest.approx(expected, abs=1e-5)
    assert order[:7] == ["forward", "forward", "000", "001", "002", "003", "forward"]


def test_a_fault_in_a_plain_step_is_found(
    accelerator: Accelerator, small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop flag as it was written once: by a Python number, which blocks; and its value looked at on the way."""

    def own(self: Status, asked_to_stop: bool, with_weights: bool) -> Tensor:
        figures = torch.zeros(self.size, device=DEVICE)
        figures[:1] = float(asked_to_stop)
        if figures.sum() > 0:
            figures = figures + torch.zeros(self.size, device=DEVICE)
        return figures

    monkeypatch.setattr(Status, "own", own)
    train_there(accelerator, replace(small, train=replace(small.train, steps=1, eval_every=0)))
    assert [(what, where.partition(":")[0]) for what, where, _ in accelerator.faults] == [
        ("a blocking copy of Python numbers to the device", "tests/engine/test_accelerator.py"),
        ("a host read", "tests/engine/test_accelerator.py"),
    ]


@pytest.mark.parametrize(
    ("what", "work"),
    [
        ("a CPU tensor meets the device's", lambda x: torch.ones(3) @ x),
        ("a CPU tensor meets the device's", lambda x: torch.where(x > 0, x, torch.zeros(()))),
        ("a CPU tensor meets the device's", lambda x: x[torch.tensor([0, 1])]),
        ("a host read", lambda x: x.sum().item()),
        ("a host read", lambda x: bool(x[0] > 0)),
        ("a host read", lambda x: x.cpu()),
        ("a host read", lambda x: x.tolist()),
        ("a host read", lambda x: x[x > 0]),
        ("a host read", lambda x: torch.nonzero(x)),
        ("a host read", lambda x: torch.equal(x, x)),
        ("a host read", lambda x: torch.empty(3).copy_(x)),
        ("a blocking copy to the device", lambda x: torch.ones(3).to(x.device)),
        ("a blocking copy to the device", lambda x: x.copy_(torch.ones(3))),
        ("a blocking copy of Python numbers to the device", lambda x: torch.tensor([1.0], device=x.device)),
        ("a blocking copy of Python numbers to the device", lambda x: torch.as_tensor(1.0, device=x.device)),
        ("a blocking copy of Python numbers to the device", lambda x: x.__setitem__(0, 1.0)),
        ("", lambda x: x[:1].fill_(1.0) + x[1] * 2 + torch.full((3,), 1.0, device=x.device)),
        ("", lambda x: torch.ones(3).to(x.device, non_blocking=True) @ x),
        ("", lambda x: torch.empty(3).copy_(x, non_blocking=True)),
    ],
)
def test_what_counts_as_a_fault(what: str, work: Callable[[Tensor], object]) -> None:
    accelerator = Accelerator()
    with accelerator.running() as device:
        x = torch.ones(3).to(device, non_blocking=True)
        work(x)
        accelerator.may_wait(lambda: x.cpu())()
    assert [fault.what for fault in accelerator.faults] == ([what] if what else [])
    assert all(fault.where.startswith("tests/engine/test_accelerator.py:") for fault in accelerator.faults)
