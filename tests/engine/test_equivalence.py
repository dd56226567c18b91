"""Training on several ranks, in micro-batches or half precision equals the plain run; and what a step communicates."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

from samsod import workflows
from samsod.config import Config, EngineConfig, ModelConfig, RuleConfig, TrainConfig
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.decoding.images import read_rgb
from samsod.data.pictures import write_png
from samsod.engine.launch import launch
from samsod.surgery import hook
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rows import GradientRows
from samsod.surgery.rules.pcgrad import pcgrad_weights, random_orders
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.workflows import make_trainer
from tests.conftest import write_pairs
from tests.places import SHARED
from tests.ranks import run_all, run_ranks
from tests.training import apart, run, trained

CRACKS = SHARED / "data" / "crackvid"
STEPS = 20


@pytest.fixture
def real_config(config: Config, pairs_folder: Path) -> Config:
    """Twenty steps of eight real pairs, augmentation included; where these are not there, of generated ones, every
    other with its thermal image inverted, so that the losses fight.

    At a rate of 1e-4: at 1e-3 Adam, which divides noise by itself where a gradient is zero but for rounding (the key
    biases), and TopK, which is not continuous, blow the rounding of another order of sums up to 1e-4 for some seeds.
    """
    if CRACKS.is_dir():
        pairs = DatasetConfig(root=str(CRACKS), list_file=str(CRACKS / "train.txt"))
        config.data = replace(config.data, train=[pairs])
    else:
        for path in sorted((pairs_folder / "T").iterdir())[::2]:
            write_png(path, 255 - read_rgb(path))
    config.data = replace(config.data, holdout=0)
    config.train = replace(config.train, batch_size=8, steps=STEPS, log_every=STEPS, eval_every=0, lr=1e-4)
    return config


class PerRankSurgery(GradientRows):
    """The wrong algorithm: every rank projects its own rows, and the results are averaged."""

    def average(self, figures: Tensor) -> Tensor:
        for group, rows in zip(self.groups, self.by_group, strict=True):
            weights = pcgrad_weights(gram_matrix(rows), random_orders(len(rows), f"wrong/{group.name}"))
            merged = weights.float() @ rows
            distributed.all_reduce_mean(merged)
            rows.copy_(merged.expand_as(rows))
        distributed.all_reduce_mean(figures)
        return figures


def trained_wrongly(config: Config) -> Tensor:
    hook.GradientRows = PerRankSurgery  # type: ignore[misc]
    return trained(config)


def test_worlds_of_1_2_and_4_train_alike_and_per_rank_surgery_does_not(real_config: Config, tmp_path: Path) -> None:
    alone = trained(real_config)
    (row,) = [json.loads(line) for line in (Path(real_config.output) / "metrics.jsonl").read_text().splitlines()]
    assert row["conflicts"]["encoder"] > 0  # there is something to solve
    names = {"two": trained, "four": trained, "wrong": trained_wrongly}
    jobs = {name: partial(job, replace(real_config, output=str(tmp_path / name))) for name, job in names.items()}
    two, four = run_ranks(run_all, 2, [jobs["two"], jobs["wrong"]]), run_ranks(trained, 4, *jobs["four"].args)
    for ranks in ([right for right, _ in two], four):
        assert all(torch.equal(ranks[0], other) for other in ranks[1:]), f"ranks of {len(ranks)} differ"
        assert apart(ranks[0], alone) < 1e-5, len(ranks)
    assert apart(two[0][1], alone) > 1e-4


@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_equal_the_whole_batch(real_config: Config, tmp_path: Path, count: int) -> None:
    whole = trained(real_config)
    parts = replace(real_config, output=str(tmp_path / "parts"))
    parts.train = replace(parts.train, accumulate=count)
    assert apart(trained(parts), whole) < 1e-5


class Reads(TorchDispatchMode):
    """Counts values read back from tensors: `.item()`, `int(tensor)`, `bool(tensor)`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def counted_steps(config: Config) -> dict[str, Any]:
    """Collectives and host reads of three steps between log lines."""
    with launch(config) as device:
        trainer, _ = make_trainer(config, device)
        batches = list(itertools.islice(trainer.batches(0), 3))
        calls: Counter[str] = Counter()
        originals = {name: getattr(dist, name) for name in COLLECTIVES}
        for name, original in originals.items():
            setattr(dist, name, _counting(calls, name, original))
        with Reads() as reads:
            for batch in batches:
                trainer.train_step(batch)
                trainer.status.check()
        for name, original in originals.items():
            setattr(dist, name, original)
    return {"collectives": dict(calls), "reads": reads.count}


COLLECTIVES = ("all_reduce", "broadcast", "all_gather", "all_gather_object", "barrier", "reduce", "all_to_all")


def _counting(calls: Counter[str], name: str, original: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return original(*args, **kwargs)

    return call


def first_gradient(config: Config) -> Tensor:
    return run(config).hook.merged.clone()


def first_gradient_block_by_block_on_rank_1(config: Config) -> Tensor:
    """As machines of unequal memory may have it."""
    blocks = replace(config, engine=replace(config.engine, checkpointing="block"))
    return first_gradient(blocks if distributed.rank() else config)


def overflow_on_one_rank(config: Config) -> dict[str, Any]:
    with launch(config) as device:
        trainer, _ = make_trainer(config, device)
        batches = iter(trainer.batches(0))
        before = [p.detach().clone() for p in trainer.hook.parameters]
        scale = trainer.scaler.get_scale()
        accumulate = trainer.hook.accumulate

        def overflowing(losses: Any) -> None:
            accumulate(losses)
            if distributed.rank() == 1:
                trainer.hook.rows.by_group[0][0, 7] = float("inf")

        trainer.hook.accumulate = overflowing  # type: ignore[method-assign]
        trainer.train_step(next(batches))
        trainer.status.check()
        parameters = trainer.hook.parameters
        same = all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))
        return {"skipped": same, "scale": trainer.scaler.get_scale() / scale}


def nan_on_one_rank(config: Config) -> tuple[str, int]:
    from samsod.modeling.losses import WeightedIouBce

    original = WeightedIouBce.__call__
    calls = iter(range(1, 1000))

    def sometimes(self: WeightedIouBce, logits: Tensor, batch: Any) -> Tensor:
        loss = original(self, logits, batch)
        return loss * float("nan") if distributed.rank() == 1 and next(calls) == 5 else loss

    WeightedIouBce.__call__ = sometimes  # type: ignore[method-assign]
    try:
        run(config)
    except FloatingPointError as error:
        return str(error), len(list((Path(config.output) / "checkpoints").glob("*00002*")))
    return "", 0


def drift_on_one_rank(config: Config) -> str:
    """One weight of rank 1 changes before step 3; every second step is logged."""
    with launch(config) as device:
        trainer, _ = make_trainer(config, device)
        step = trainer.train_step

        def train_step(batch: Any) -> Any:
            if distributed.rank() == 1 and trainer.step == 2:
                trainer.hook.parameters[0].detach().view(-1)[0] += 1e-4
            return step(batch)

        trainer.train_step = train_step  # type: ignore[method-assign]
        return failure(trainer.train)


def start(config: Config) -> str:
    return failure(lambda: run(config))


def start_apart(config: Config) -> str:
    return failure(lambda: run(replace(config, seed=distributed.rank())))


def start_with_other_settings(config: Config) -> str:
    return failure(lambda: run(replace(config, train=replace(config.train, log_every=1 + distributed.rank()))))


def start_with_another_constant(config: Config) -> str:
    """A buffer that nothing trains, on rank 1 one bit away."""
    build = workflows.build_model

    def build_otherwise(model_config: ModelConfig) -> Any:
        model = build(model_config)
        if distributed.rank() == 1:
            next(model.buffers()).view(torch.int32).view(-1)[0] ^= 1
        return model

    workflows.build_model = build_otherwise  # type: ignore[assignment]
    try:
        return failure(lambda: run(config))
    finally:
        workflows.build_model = build


def failure(work: Callable[[], object]) -> str:
    try:
        work()
    except (UserError, RuntimeError, FloatingPointError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.fixture(scope="module")
def on_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each of two ranks says of the jobs below, all done by the same two processes."""
    folder = tmp_path_factory.mktemp("ranks")
    pairs = DatasetConfig(root=str(write_pairs(folder / "pairs", 12, seed=0)))
    data = DataConfig(train=[pairs], workers=0, holdout=0.2)
    model = ModelConfig(size="micro", decoder_width=32, image_size=64, freeze_encoder=False)

    def config(name: str, engine: dict[str, Any], train: dict[str, Any]) -> Config:
        recipe = TrainConfig(**{"batch_size": 4, "steps": 3, "log_every": 1, **train})
        return Config(str(folder / name), model=model, data=data, engine=EngineConfig(**engine), train=recipe)

    adamw = {"steps": 1, "optimizer": "adamw"}
    wanted: dict[str, tuple[Callable[[Config], Any], dict[str, Any], dict[str, Any]]] = {
        "step in fp32": (counted_steps, {}, {"clip_norm": 1.0}),
        "step in bf16": (counted_steps, {"precision": "bf16"}, {"clip_norm": 1.0}),
        "step in fp16": (counted_steps, {"precision": "fp16"}, {"clip_norm": 1.0}),
        "scored step": (counted_steps, {"gradient_rule": RuleConfig("ogm")}, {}),
        "rows in bf16": (counted_steps, {"reduce_dtype": "bf16"}, {}),
        "exact": (first_gradient, {}, adamw),
        "short": (first_gradient, {"reduce_dtype": "bf16"}, adamw),
        "block by block": (first_gradient_block_by_block_on_rank_1, {}, adamw),
        "step block by block": (counted_steps, {"checkpointing": "block"}, {"clip_norm": 1.0}),
        "overflow": (overflow_on_one_rank, {"precision": "fp16"}, {}),
        "nan in fp32": (nan_on_one_rank, {}, {}),
        "nan in fp16": (nan_on_one_rank, {"precision": "fp16"}, {}),
        "drift": (drift_on_one_rank, {}, {"steps": 6, "log_every": 2}),
        "uneven": (start, {}, {"batch_size": 5}),
        "apart": (start_apart, {}, {}),
        "other settings": (start_with_other_settings, {}, {}),
        "another constant": (start_with_another_constant, {}, {}),
    }
    jobs = [partial(job, config(name, engine, train)) for name, (job, engine, train) in wanted.items()]
    results = dict(zip(wanted, zip(*run_ranks(run_all, 2, jobs), strict=True), strict=True))
    assert not (folder / "apart").exists() and not (folder / "uneven").exists()
    alone = first_gradient(config("alone", {"checkpointing": "block"}, adamw))
    return {name: list(ranks) for name, ranks in results.items()} | {"alone": [alone]}


@pytest.mark.parametrize("step", ["in fp32", "in bf16", "in fp16", "block by block"])
def test_a_step_makes_one_all_reduce_and_reads_nothing_back(on_two_ranks: dict[str, list[Any]], step: str) -> None:
    for counts in on_two_ranks[f"step {step}"]:
        assert counts == {"collectives": {"all_reduce": 3}, "reads": 0}


def test_scores_of_the_streams_travel_in_the_same_all_reduce(on_two_ranks: dict[str, list[Any]]) -> None:
    for counts in on_two_ranks["scored step"]:
        assert counts == {"collectives": {"all_reduce": 3}, "reads": 0}


def test_rows_in_bf16_travel_with_one_tiny_all_reduce_more(on_two_ranks: dict[str, list[Any]]) -> None:
    for counts in on_two_ranks["rows in bf16"]:
        assert counts == {"collectives": {"all_reduce": 6}, "reads": 0}


def test_bf16_transport_stays_within_its_rounding(on_two_ranks: dict[str, list[Any]]) -> None:
    exact, ranks = on_two_ranks["exact"][0], on_two_ranks["short"]
    assert torch.equal(ranks[0], ranks[1])
    assert 1e-5 < apart(ranks[0], exact) < 2**-8


def test_ranks_and_one_process_agree_block_by_block_and_not(on_two_ranks: dict[str, list[Any]]) -> None:
    exact, ranks, alone = (on_two_ranks[name] for name in ("exact", "block by block", "alone"))
    assert torch.equal(ranks[0], ranks[1])
    assert apart(ranks[0], exact[0]) < 1e-5 and apart(alone[0], exact[0]) < 1e-5


def test_an_overflow_on_one_rank_makes_all_skip_the_step_and_lower_the_scale(
    on_two_ranks: dict[str, list[Any]],
) -> None:
    assert on_two_ranks["overflow"] == [{"skipped": True, "scale": 0.5}] * 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_nan_on_one_rank_stops_all_in_that_step_and_is_named(
    on_two_ranks: dict[str, list[Any]], precision: str
) -> None:
    messages = on_two_ranks[f"nan in {precision}"]
    # Three losses a step: the fifth call is the RGB loss of step 2.
    assert [message for message, _ in messages] == ["step 2: not finite: loss rgb on rank 1"] * 2
    assert [poisoned for _, poisoned in messages] == [0, 0]


def test_a_rank_that_drifts_is_named_at_the_next_log_line(on_two_ranks: dict[str, list[Any]]) -> None:
    for message in on_two_ranks["drift"]:
        assert message.startswith("RuntimeError: step 4: the weights of rank 1 are no longer those of rank 0")


def test_a_batch_that_does_not_divide_is_refused(on_two_ranks: dict[str, list[Any]]) -> None:
    message = "UserError: train.batch_size is 5; it must be a multiple of the 2 ranks"
    assert on_two_ranks["uneven"] == [message] * 2


def test_ranks_that_do_not_start_alike_are_stopped(on_two_ranks: dict[str, list[Any]]) -> None:
    differing = {"apart": "seed and weights", "other settings": "train.log_every", "another constant": "weights"}
    for job, what in differing.items():
        for rank, message in enumerate(on_two_ranks[job]):
            assert message == f"UserError: rank {1 - rank} starts with another {what} than rank {rank}"
