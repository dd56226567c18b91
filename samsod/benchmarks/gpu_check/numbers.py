"""Whether the device computes what a CPU does: logits, merged gradients, scores of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from samsod.benchmarks.gpu_check.finding import Finding, Subject, apart, compared, fill_adapters, full_float32, smoothed
from samsod.benchmarks.plain import PlainTraining, lacks
from samsod.benchmarks.step import random_batch, synthetic_trainer
from samsod.config import Config, ModelConfig
from samsod.config.data_schema import DatasetConfig
from samsod.config.schema import TestConfig
from samsod.data.sources.catalog import PairSet, find_set
from samsod.data.synthetic.demo_set import write_scene
from samsod.data.synthetic.scenes import make_scene
from samsod.engine.compiling import compile_fault
from samsod.evaluation.evaluator import evaluate
from samsod.modeling.samsod import FINAL, SaliencyModel
from samsod.utils.precision import autocast

CPU = torch.device("cpu")
FP32, JUMPS, SCORES = 1e-4, 2e-2, 1e-3
SHORTENED = {"bf16": (0.05, 0.3), "fp16": (0.01, 0.1)}
"""By precision, the limits of logits and of merged gradients."""
SCENES, SIDE = 4, 160
Tensors = Mapping[str, Tensor]


def precisions(subject: Subject) -> Iterator[Finding]:
    """Logits and merged gradients of one step: fp32 beside the plain network on the CPU, the others beside fp32."""
    if lacking := lacks(subject.config):
        yield Finding("logits and merged gradients beside the plain network", "skipped", lacking)
        return
    place = "beside the plain network on the CPU"
    with full_float32():
        smooth = replace(subject, config=smoothed(subject.config))
        found, expected = _logits_and_gradients(smooth, "fp32"), _plain(smooth.config)
        yield from _compare(f"fp32 {place}, every channel kept", found, expected, (FP32, FP32))
        full, expected = _logits_and_gradients(subject, "fp32"), _plain(subject.config)
        yield from _compare(f"fp32 {place}", full, expected, (FP32, JUMPS))
        for precision, limits in SHORTENED.items():
            yield from _compare(f"{precision} beside fp32", _logits_and_gradients(subject, precision), full, limits)


def compiled(subject: Subject) -> Iterator[Finding]:
    """Logits and merged gradients of one step of the compiled model beside the same uncompiled, in fp32."""
    if not subject.compiles:
        return
    label = "fp32 compiled beside uncompiled"
    if fault := compile_fault(subject.device):
        yield Finding(f"logits and merged gradients, {label}", "skipped", f"torch.compile fails here: {fault}")
        return
    yield from _with_other_settings(subject, label, compile="encode+decode")


def by_block(subject: Subject) -> Iterator[Finding]:
    """Merged gradients of one step block by block beside those of one graph, in fp32; predicting knows no blocks."""
    yield from _with_other_settings(subject, "fp32 block by block beside one graph", False, checkpointing="block")


def _with_other_settings(subject: Subject, label: str, predicts: bool = True, **engine: str) -> Iterator[Finding]:
    """What one step gives with other settings of the engine beside what it gives without, in fp32."""
    with full_float32():
        for config, more, limit in (
            (smoothed(subject.config), ", every channel kept", FP32),
            (subject.config, "", JUMPS),
        ):
            other = replace(config, engine=replace(config.engine, **engine))  # type: ignore[arg-type]
            subjects = (replace(subject, config=each) for each in (other, config))
            found, expected = (_logits_and_gradients(each, "fp32", predicts) for each in subjects)
            yield from _compare(f"{label}{more}", found, expected, (FP32, limit))


def _plain(config: Config) -> tuple[Tensors, Tensors]:
    """What `_logits_and_gradients` gives, by the plain network and step on the CPU."""
    plain = PlainTraining(config, CPU, _filled(config).state_dict())
    batch = random_batch(config, CPU)
    plain.set_gradients(batch)
    with torch.inference_mode():
        logits = plain.network(batch)
    return logits, {group.name: torch.cat([_flat(p.grad) for p in group.parameters]) for group in plain.groups}


def _compare(
    label: str, found: tuple[Tensors, Tensors], expected: tuple[Tensors, Tensors], limits: tuple[float, float]
) -> Iterator[Finding]:
    for what, mine, theirs, limit in zip(("logits", "merged gradients"), found, expected, limits, strict=True):
        if theirs:
            differences = (apart(mine[name], values) for name, values in theirs.items())
            yield compared(f"{what}, {label}", limit, differences)


def _logits_and_gradients(subject: Subject, precision: str, predicts: bool = True) -> tuple[Tensors, Tensors]:
    """Logits by stream before, if it predicts, and the merged gradient by group of, the first step of the trainer."""
    config = subject.with_precision(precision)
    stepped = synthetic_trainer(config, subject.device, fill_adapters)
    trainer = stepped.trainer
    # The usual 65536 may overflow in the first step, which training then takes again with less.
    trainer.scaler = torch.amp.GradScaler(subject.device.type, init_scale=128.0, enabled=precision == "fp16")
    with torch.inference_mode(), autocast(subject.device, precision):
        logits = trainer.network(next(stepped.batches)).streams if predicts else {}
    stepped.step()
    gradients = {g.name: torch.cat([_flat(p.grad) for p in g.parameters]) for g in trainer.hook.groups}
    return logits, gradients


def _flat(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.detach().flatten().clone()


def scores(subject: Subject) -> Iterator[Finding]:
    """An evaluation on generated scenes on the device, in batches of two, beside the CPU's, one by one."""
    check = "scores of an evaluation, batches of 2 beside the CPU one by one"
    if subject.config.model.modalities != ModelConfig().modalities:
        yield Finding(check, "skipped", f"generated scenes have {', '.join(ModelConfig().modalities)}")
        return
    config, pairs = evaluation_config(subject.config), scenes(subject.folder / "scenes")
    model = _filled(config)
    with full_float32():
        expected = evaluate(model, pairs, config)[FINAL].result()
        batched = replace(config, test=replace(config.test, batch_size=2))
        found = evaluate(model.to(subject.device), pairs, batched)[FINAL].result()
    yield compared(check, SCORES, (abs(found[name] - value) for name, value in expected.items()))


def scenes(folder: Path) -> PairSet:
    """Generated pairs, RGB and thermal."""
    for index in range(SCENES):
        write_scene(folder, f"{index:03d}", make_scene(0, 0, index, SIDE))
    pairs = find_set(DatasetConfig(root=str(folder)), "", ModelConfig().modalities).pairs
    return PairSet("scenes", tuple(pairs))


def evaluation_config(config: Config) -> Config:
    """The config, evaluating whole, without processes of its own."""
    return replace(config, data=replace(config.data, workers=0), test=TestConfig())


def _filled(config: Config) -> SaliencyModel:
    return synthetic_trainer(config, CPU, fill_adapters).trainer.model.eval()
