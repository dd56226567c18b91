"""The timed step is the trainer's own, and its parts are all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import distributed as dist

from samsod.benchmarks.counts import counted
from samsod.benchmarks.scaling import row_bytes
from samsod.benchmarks.step import (
    BLOCKS,
    ENCODER,
    OTHER,
    SURGERY,
    WAIT,
    SteppedTrainer,
    backward_of,
    random_batch,
    synthetic_trainer,
)
from samsod.benchmarks.surgery import surgery_works
from samsod.benchmarks.timing import seconds_of
from samsod.config import Config, LossConfig, RuleConfig
from samsod.surgery import hook
from samsod.utils.errors import UserError

CPU = torch.device("cpu")


def test_parts_are_all_of_the_step(config: Config) -> None:
    config.train.accumulate = 2
    stepped = synthetic_trainer(config, CPU)
    assert stepped.images == 4
    stepped.step()
    parts: dict[str, float] = {}
    total = seconds_of(lambda: parts.update(stepped.timed_step()), CPU)
    backward = {backward_of(name) for name in ("fusion", "rgb", "thermal")}
    assert parts.keys() == {WAIT, "forward", "losses", "optimizer", OTHER, *backward, *SURGERY}
    assert all(seconds > 0 for seconds in parts.values())
    assert 0.9 * total < sum(parts.values()) <= total
    assert sum(parts[name] for name in backward) + parts["forward"] > 0.4 * total


def test_a_slow_part_is_found(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part made slow by a clock that only it moves."""
    stepped = synthetic_trainer(config, CPU)
    now = [0.0]
    monkeypatch.setattr("samsod.benchmarks.timing.time.perf_counter", lambda: now[0])

    def slow(owner: object, name: str, seconds: float) -> None:
        work = getattr(owner, name)

        def later(*args: object, **kwargs: object) -> object:
            now[0] += seconds
            return work(*args, **kwargs)

        monkeypatch.setattr(owner, name, later)

    trainer = stepped.trainer
    slow(trainer.model, "forward", 1)
    slow(trainer, "loss", 10)
    slow(trainer.hook.rows, "average", 100)
    slow(hook, "gram_matrix", 1000)
    slow(trainer.hook.rules["decoder"], "weights", 10_000)
    slow(trainer.scaler, "step", 100_000)
    slow(trainer.status, "publish", 1_000_000)
    parts = {name: seconds for name, seconds in stepped.timed_step().items() if seconds}
    groups = len(trainer.hook.groups)
    assert parts == {
        "forward": 1,
        "losses": 3 * 10,
        "reduce": 100,
        "Gram": groups * 1000,
        "weights": 10_000,
        "optimizer": 100_000,
        OTHER: 1_000_000,
    }


def parts_of_passes(
    stepped: SteppedTrainer, passes: Iterator[float], monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """The parts of a step in which nothing takes time but the backward passes, the seconds given."""
    now = [0.0]
    monkeypatch.setattr("samsod.benchmarks.timing.time.perf_counter", lambda: now[0])
    grad: Any = torch.autograd.grad

    def slow(*args: object, **kwargs: object) -> object:
        gradients = grad(*args, **kwargs)
        now[0] += next(passes)
        return gradients

    monkeypatch.setattr(torch.autograd, "grad", slow)
    return stepped.timed_step()


@pytest.mark.parametrize("frozen", [True, False])
def test_backward_passes_are_told_apart(config: Config, monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    """Of a frozen encoder those of the decoder, and then two through the adapters."""
    config.model.freeze_encoder = frozen
    stepped = synthetic_trainer(config, CPU)
    passes = iter([1.0, 10.0, 100.0, 1000.0, 2000.0][: 5 if frozen else 3])
    parts = parts_of_passes(stepped, passes, monkeypatch)
    assert [parts[backward_of(name)] for name in ("fusion", "rgb", "thermal")] == [1, 10, 100]
    assert next(passes, None) is None and parts.get(ENCODER) == (3000 if frozen else None)


def test_the_pass_through_the_blocks_is_told_apart(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three passes down to the maps, then two for each block and modality, and the trained embedding's two."""
    config.engine.checkpointing = "block"
    stepped = synthetic_trainer(config, CPU)
    passes = iter([1.0, 10.0, 100.0, *[1000.0] * 2 * (2 * 6 + 2)])
    parts = parts_of_passes(stepped, passes, monkeypatch)
    assert [parts[backward_of(name)] for name in ("fusion", "rgb", "thermal")] == [1, 10, 100]
    assert parts[BLOCKS] == 28_000 and next(passes, None) is None
    assert "through_encoder" not in vars(stepped.trainer.passes)


def test_the_encoder_is_counted_once_more_block_by_block(config: Config) -> None:
    plain = counted(synthetic_trainer(config, CPU).step).macs
    config.engine.checkpointing = "block"
    assert 1.1 * plain < counted(synthetic_trainer(config, CPU).step).macs < 1.4 * plain


def test_losses_that_are_summed_have_one_backward_pass(config: Config) -> None:
    config.engine.gradient_rule = RuleConfig("sum")
    stepped = synthetic_trainer(config, CPU)
    stepped.step()
    parts = stepped.timed_step()
    assert [name for name in parts if name.startswith("backward")] == [backward_of("sum")]
    assert surgery_works(stepped.trainer.hook) == {} and "weights" not in parts


def test_marks_change_nothing_and_leave_nothing_behind(config: Config) -> None:
    timed, plain = synthetic_trainer(config, CPU), synthetic_trainer(config, CPU)
    before = {**vars(timed.trainer.hook), **vars(timed.trainer)}
    for _ in range(2):
        timed.timed_step()
        plain.step()
    for mine, other in zip(timed.trainer.hook.parameters, plain.trainer.hook.parameters, strict=True):
        assert torch.equal(mine, other)
    assert before.keys() == {**vars(timed.trainer.hook), **vars(timed.trainer)}.keys()
    assert not timed.trainer.model._forward_hooks and type(timed.trainer.hook.rules["decoder"]).__name__ == "PCGrad"
    assert timed.trainer.loss is before["loss"] and hook.gram_matrix.__module__ == "samsod.surgery.hook"
    assert not {"unscale_", "step", "update"} & vars(timed.trainer.scaler).keys()
    assert counted(timed.step).host_reads == 0


def test_two_ranks_reduce_once_what_the_scaling_table_says(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank that takes itself for two, as far as it goes."""
    stepped = synthetic_trainer(config, CPU)
    losses, told = (
        dict.fromkeys(("fusion", "rgb", "thermal"), torch.zeros(())),
        torch.zeros(stepped.trainer.status.size),
    )
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        monkeypatch.setattr("samsod.utils.distributed.world_size", lambda: 2)
        counts = counted(lambda: stepped.trainer.hook.merge(0, losses, told))
    finally:
        dist.destroy_process_group()
    rows = sum(row_bytes(stepped.trainer.hook.groups).values())
    assert counts.collectives == 1 and rows < counts.collective_bytes < rows + 64, "beside the rows only a few figures"


def test_batches_have_what_the_loss_asks_for(config: Config) -> None:
    scribbles = replace(
        config, loss=LossConfig("scribble"), engine=replace(config.engine, gradient_rule=RuleConfig("ogm"))
    )
    batch = random_batch(scribbles, CPU)
    assert {name: list(values.shape) for name, values in batch.items()} == {
        **{name: [4, 3, 64, 64] for name in ("rgb", "thermal", "guide")},
        **{name: [4, 1, 64, 64] for name in ("ground_truth", "labelled")},
    }
    assert set(batch["ground_truth"].unique().tolist()) == {0, 1}
    assert synthetic_trainer(scribbles, CPU).timed_step()["forward"] > 0
    again = random_batch(scribbles, CPU)
    assert all(torch.equal(values, again[name]) for name, values in batch.items())


def test_a_batch_that_does_not_divide_is_refused(config: Config) -> None:
    config.train.accumulate = 3
    with pytest.raises(UserError, match=r"train\.batch_size is 4; it must be a multiple of the 1 ranks times"):
        synthetic_trainer(config, CPU)
