"""The model compiled in parts computes, works as much as and is stored like the plain one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.utils import counters
from torch._functorch.aot_autograd import make_boxed_func
from torch._functorch.partitioners import min_cut_rematerialization_partition

from samsod.benchmarks.counts import counted
from samsod.benchmarks.gpu_check.finding import fill_adapters, smoothed
from samsod.benchmarks.step import SteppedTrainer, synthetic_trainer
from samsod.config import Config, EngineConfig, ModelConfig, TrainConfig
from samsod.config.schema import TrunkConfig
from samsod.engine import compiling
from samsod.engine.checkpoint import load_checkpoint, step_path
from samsod.engine.compiling import CompiledPart, check_compiler, compile_parts, plain_form
from samsod.modeling.samsod import Samsod, build_model
from samsod.prediction.predictor import Predictor
from samsod.utils.errors import UserError
from tests.places import ROOT
from tests.training import apart, run

CPU = torch.device("cpu")
SMALL = TrunkConfig(stages=[1, 1, 1, 1], global_att_blocks=[2])
ON: Final = "encode+decode"


class Graphs:
    """Compiles nothing: runs every graph as it was recorded, cut into forward and backward as inductor cuts it.

    Attributes:
        recorded: How many graphs there were.
        macs: Multiply-adds of all that ran, forward and backward.
    """

    def __init__(self) -> None:
        self.recorded = self.macs = 0

    def __call__(self, graph: Any, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        self.recorded += 1
        cut = min_cut_rematerialization_partition
        return aot_autograd(fw_compiler=self._counted, bw_compiler=self._counted, partition_fn=cut)(graph, inputs)

    def _counted(self, graph: Any, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        def run(*values: Any) -> Any:
            # Detached, or the counter looks for what made them, which in predictions is not known.
            cut_off = [value.detach() if isinstance(value, Tensor) else value for value in values]
            results: list[Any] = []
            self.macs += counted(lambda: results.extend(graph(*cut_off))).macs
            return results

        return make_boxed_func(run)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    """What torch.compile compiles, with no compiler but this; nothing remains in this process."""
    made = Graphs()
    monkeypatch.setattr(compiling, "BACKEND", made)
    check_compiler(EngineConfig(compile=ON), CPU)
    made.recorded = 0
    counters.clear()
    yield made
    assert not counters["graph_break"]
    torch.compiler.reset()
    compiling.compile_fault.cache_clear()


def make_config(model: dict[str, Any], **engine: Any) -> Config:
    settings = ModelConfig(size="micro", trunk=SMALL, decoder_width=32, image_size=64, **model)
    return Config(model=settings, train=TrainConfig(batch_size=2), engine=EngineConfig(device="cpu", **engine))


def both(config: Config) -> tuple[SteppedTrainer, SteppedTrainer]:
    """Trainers of the compiled model and of the plain one."""
    compiled = replace(config, engine=replace(config.engine, compile=ON))
    return synthetic_trainer(compiled, CPU, fill_adapters), synthetic_trainer(config, CPU, fill_adapters)


def rows(stepped: SteppedTrainer) -> dict[str, Tensor]:
    """Logits, losses' gradients and merged gradient of the next batch."""
    trainer, batch = stepped.trainer, next(stepped.batches)
    trainer.hook.clear()
    streams = trainer.passes.forward(batch).streams
    losses = {name: trainer.loss(logits, batch) for name, logits in streams.items()}
    trainer.hook.accumulate(losses)
    found = {f"{group.name} of {group.losses[index]}": row.clone() for group, index, row in _by_loss(stepped)}
    trainer.hook.merge(0, {name: loss.detach() for name, loss in losses.items()}, torch.zeros(trainer.status.size))
    return {**found, **{name: logits.detach() for name, logits in streams.items()}, "merged": trainer.hook.merged}


def _by_loss(stepped: SteppedTrainer) -> Iterator[tuple[Any, int, Tensor]]:
    hook = stepped.trainer.hook
    for group, block in zip(hook.groups, hook.rows.by_group, strict=True):
        for index, row in enumerate(block):
            yield group, index, row


def test_three_modalities_are_two_graphs_with_the_results_and_the_arithmetic_of_the_plain_step(graphs: Graphs) -> None:
    ours, plain = both(make_config({"modalities": ["rgb", "depth", "thermal"]}))
    found, expected = rows(ours), rows(plain)
    assert graphs.recorded == 2  # one encoder for three modalities, one decoder for four streams
    assert len(expected) == 3 * 2 + 4 + 4 + 1 and found.keys() == expected.keys()
    for name, value in expected.items():
        assert value.norm() > 0 and apart(found[name], value) < 1e-5, name
    graphs.macs = 0
    rows(ours)
    elsewhere = sum(row.numel() for _, _, row in _by_loss(plain))  # the rows times their weights
    plain_macs = counted(lambda: rows(plain)).macs - elsewhere
    # SAM2's decoder also scores its masks, which nobody asks for, and compiled it does not.
    decoder: Any = plain.trainer.model.decoder
    heads = (decoder.mask_decoder.iou_prediction_head, decoder.mask_decoder.pred_obj_score_head)
    unread = 2 * 4 * sum(weight.numel() for head in heads for weight in head.parameters() if weight.dim() == 2)
    assert plain_macs - unread <= graphs.macs <= plain_macs and unread < 0.01 * plain_macs
    assert graphs.recorded == 2
    for trainer in (ours, plain):
        trainer.step()
    weights, others = ours.trainer.model.state_dict(), plain.trainer.model.state_dict()
    assert list(weights) == list(others) and graphs.recorded == 2
    assert all(torch.allclose(weights[name], others[name], atol=1e-5) for name in weights)
    assert ours.trainer.model.saved_state().keys() == plain.trainer.model.saved_state().keys()


def test_prediction_records_once_and_smaller_batches_and_single_modalities_never(graphs: Graphs) -> None:
    model = build_model(make_config({}).model).eval()
    fill_adapters(model)
    compile_parts(model, EngineConfig(compile=ON))
    assert isinstance(model, Samsod) and isinstance(model.decode, CompiledPart)
    images = {name: torch.randn(2, 3, 64, 64) for name in model.modalities}
    smaller = {name: values[:1] for name, values in images.items()}
    for batch, given in ((images, ()), (images, ("thermal",)), (smaller, ()), (images, ())):
        with torch.inference_mode():
            found = model(batch, given).streams
            with plain_form(model):
                expected = model(batch, given).streams
        assert found.keys() == expected.keys()
        assert all(apart(found[name], expected[name]) < 1e-5 for name in expected)
        assert graphs.recorded == 2
    assert isinstance(model.decode, CompiledPart)


def test_bf16_and_a_trained_encoder(graphs: Graphs) -> None:
    ours, plain = both(make_config({"freeze_encoder": False}, precision="bf16"))
    found, expected = rows(ours), rows(plain)
    assert graphs.recorded == 2 and any(name.startswith("encoder of") for name in expected)
    for name, value in expected.items():
        assert apart(found[name], value) < (0.02 if name in ("fusion", "rgb", "thermal") else 0.1), name


def test_a_size_is_compiled_unless_a_larger_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: Counter[str] = Counter()

    def method(values: Sequence[Tensor], factor: int) -> Tensor:
        ran.update(["run"])
        return values[0] * factor

    def compiled_form(method: Callable[..., Any], **_: object) -> Callable[..., Any]:
        return lambda *args: (ran.update(["compiled"]), method(*args))[1]

    monkeypatch.setattr(torch, "compile", compiled_form)
    part = CompiledPart(method)
    for size, compiled in ((2, 1), (1, 1), (2, 2), (4, 3), (2, 4), (3, 4)):
        assert part([torch.ones(size, 3)], 2).shape == (size, 3)
        assert ran["compiled"] == compiled
    with torch.no_grad():
        part([torch.ones(1, 3)], 2)
    assert ran == {"compiled": 5, "run": 7}


def test_a_run_goes_on_compiled_and_its_checkpoint_predicts_plainly(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that leaves everything as it is, since what matters here is who compiles."""
    ran: Counter[str] = Counter()

    def compiled_form(method: Callable[..., Any], **_: object) -> Callable[..., Any]:
        return lambda *args: (ran.update([method.__name__]), method(*args))[1]

    monkeypatch.setattr(torch, "compile", compiled_form)
    monkeypatch.setattr(compiling, "compile_fault", lambda device: "")
    config = replace(config, data=replace(config.data, holdout=0.0), train=replace(config.train, steps=1))
    plain = run(config)
    assert not ran
    config = replace(config, train=replace(config.train, steps=2), engine=EngineConfig(compile=ON))
    compiled = run(config)
    assert compiled.step == 2 and ran == {"encode_beside": 2, "decode": 3}
    assert f"engine.compile: {ON}; " in (Path(config.output) / "log.txt").read_text()
    path = step_path(Path(config.output) / "checkpoints", 2)
    content = load_checkpoint(path)
    assert content["config"]["engine"]["compile"] == ON
    assert content["model"].keys() == plain.model.saved_state().keys()
    predictor = Predictor.from_checkpoint(path, "cpu")
    with torch.inference_mode():
        predictor.model({name: torch.zeros(1, 3, 64, 64) for name in predictor.model.modalities})
    assert ran.total() == 5


def test_a_model_that_names_no_parts_is_refused(graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Samsod, "compiled_apart", ())
    with pytest.raises(UserError, match="the model samsod lists no methods in compiled_apart"):
        compile_parts(build_model(make_config({}).model), EngineConfig(compile=ON))
    assert not vars(compile_parts(build_model(make_config({}).model), EngineConfig())).keys() & {"decode"}


def test_without_a_compiler_one_line_before_the_data_are_read(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), "--config", str(ROOT / "configs" / "micro.yaml")]
    settings = [f"engine.compile={ON}", "engine.device=cpu", f"output={tmp_path / 'run'}"]
    settings += ["data.train=[{family: folders, root: /nowhere}]"]
    environment = {**os.environ, "PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: engine.compile is {ON}, but torch.compile fails on this machine: ")
    assert "InvalidCxxCompiler" in line and line.endswith("; or set engine.compile=off")


@pytest.mark.slow
def test_inductor_makes_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    ours, plain = both(smoothed(make_config({})))
    found, expected = rows(ours), rows(plain)
    assert all(apart(found[name], value) < 1e-5 for name, value in expected.items())
    torch.compiler.reset()


def test_a_model_that_runs_block_by_block_is_not_compiled() -> None:
    faults = list(EngineConfig(compile=ON, checkpointing="block").check())
    assert faults == [("compile", "encode+decode and engine.checkpointing=block exclude each other")]
    assert not list(EngineConfig(checkpointing="block").check()) and not list(EngineConfig(compile=ON).check())
