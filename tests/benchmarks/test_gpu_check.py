"""The check of a device, in its small form on a CPU: what it writes, and that each check can fail."""

from __future__ import annotations

import functools
import json
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from samsod.benchmarks import by_part
from samsod.benchmarks.gpu_check import ranks as ranks_check
from samsod.benchmarks.gpu_check import run as run_check
from samsod.benchmarks.gpu_check.finding import Finding, Subject, compared
from samsod.benchmarks.gpu_check.numbers import by_block, compiled, precisions, scores
from samsod.benchmarks.gpu_check.ranks import ranks
from samsod.benchmarks.gpu_check.run import small_config
from samsod.benchmarks.gpu_check.runs import resumed
from samsod.benchmarks.gpu_check.waits import host_reads
from samsod.config import RuleConfig
from samsod.engine.compiling import compile_fault
from samsod.engine.passes import BlockPasses, EncoderRun
from samsod.engine.saving import Saver
from samsod.engine.status import Status
from samsod.modeling.samsod import Samsod
from samsod.surgery.hook import GradientHook
from samsod.surgery.shared_passes import Gradients
from samsod.utils.errors import Failure
from tests.places import ROOT


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(small_config(), torch.device("cpu"), tmp_path, ranks=2)


def results(findings: Sequence[Finding] | Iterator[Finding]) -> dict[str, str]:
    return {finding.check: finding.result for finding in findings}


def gpu_check(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """tools/gpu_check.py in this process."""
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "gpu_check.py"))["main"]()


def test_the_whole_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run_check, "BATCHES", (1, 2))
    monkeypatch.setattr(by_part, "SIDE", 64)
    output = tmp_path / "page"
    gpu_check("--output", output, "--device", "cpu", "--runs", 1, monkeypatch=monkeypatch)
    page = json.loads((output / "gpu_check.json").read_text())
    assert page["finished"] and {check["result"] for check in page["checks"]} == {"passed"}, page["checks"]
    checks = [check["check"] for check in page["checks"]]
    assert sum("2 ranks (gloo)" in check for check in checks) == 2 and len(checks) == len(set(checks)) == 20
    assert page["machine"]["torch"] == torch.__version__ and page["machine"]["Python"]
    (figures,) = page["benchmark"].values()
    assert figures["step"]["plain_to_ours"]["runs"] == 1 and [row["batch"] for row in figures["batches"]] == [1, 2]
    text = (output / "gpu_check.md").read_text()
    assert "Checks: 20 passed." in text and "| torch | " in text and "backward of fusion (ms)" in text
    assert sorted(path.name for path in output.iterdir()) == ["gpu_check.json", "gpu_check.md"]
    assert "20 passed; see" in capsys.readouterr().out


def fails(subject: Subject) -> Iterator[Finding]:
    yield Finding("a|b", "failed", "7\n8", "1")


def breaks(subject: Subject) -> Iterator[Finding]:
    yield Finding("first", "passed", "1")
    raise MemoryError("no room\nfor it")


def passes(subject: Subject) -> Iterator[Finding]:
    yield Finding("last", "passed", "2")


def test_a_failed_check_is_told_and_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_check, "CHECKS", (fails, breaks, passes))
    monkeypatch.setattr(run_check, "_benchmark", lambda *_: iter([Finding("timed", "passed", "3")]))
    with pytest.raises(Failure, match=r"2 of 5 checks failed, the first: a\|b"):
        gpu_check("--output", tmp_path / "new" / "page", "--device", "cpu", monkeypatch=monkeypatch)
    page = json.loads((tmp_path / "new" / "page" / "gpu_check.json").read_text())
    assert results(Finding(**check) for check in page["checks"]) == {
        "a|b": "failed",
        "first": "passed",
        "breaks": "failed",
        "last": "passed",
        "timed": "passed",
    }
    text = (tmp_path / "new" / "page" / "gpu_check.md").read_text()
    assert "| a\\|b | failed | 7 8 | 1 |" in text and "MemoryError: for it" in text
    assert "Checks: 2 failed, 3 passed." in text


def test_other_logits_are_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Samsod.decode
    monkeypatch.setattr(Samsod, "decode", lambda self, maps: decode(self, maps) * 1.001)
    found = {finding.check: finding for finding in precisions(subject)}
    label = "fp32 beside the plain network on the CPU, every channel kept"
    assert found[f"logits, {label}"].result == found[f"merged gradients, {label}"].result == "failed"
    assert found["logits, fp32 beside the plain network on the CPU"].result == "failed" and len(found) == 8
    mine = replace(subject.config, engine=replace(subject.config.engine, gradient_rule=RuleConfig("mean")))
    (finding,) = precisions(replace(subject, config=mine))
    assert finding.result == "skipped" and finding.figure.endswith("have pcgrad only, not mean")


def test_compiled_code_that_computes_otherwise_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(compiled(subject)) == []  # a CPU takes minutes to compile
    factor = 1.0

    def badly(method: Callable[..., Any], **_: object) -> Callable[..., Any]:
        return lambda values, *rest: method([value * factor for value in values] if not rest else values, *rest)

    monkeypatch.setattr(torch, "compile", badly)
    subject = replace(subject, compiles=True)
    compile_fault.cache_clear()
    (finding,) = compiled(subject)  # what is compiled to see whether that works is given a list
    assert finding.result == "skipped" and "torch.compile fails here: AttributeError" in finding.figure
    compile_fault.cache_clear()
    monkeypatch.setattr("samsod.benchmarks.gpu_check.numbers.compile_fault", lambda device: "")
    monkeypatch.setattr("samsod.engine.compiling.compile_fault", lambda device: "")
    assert list(results(compiled(subject)).values()) == ["passed"] * 4
    factor = 1.001
    found = results(compiled(subject))
    assert found["logits, fp32 compiled beside uncompiled, every channel kept"] == "failed" and len(found) == 4


def test_blocks_run_again_otherwise_are_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Samsod.forward

    @functools.wraps(forward)
    def trained(self: Samsod, *args: Any, **how: Any) -> Any:
        assert not torch.is_inference_mode_enabled()  # no logits are made that nothing is held to
        return forward(self, *args, **how)

    monkeypatch.setattr(Samsod, "forward", trained)
    assert list(results(by_block(subject)).values()) == ["passed"] * 2
    through_encoder = BlockPasses.through_encoder

    def otherwise(self: BlockPasses, run: EncoderRun, at_maps: Mapping[str, Gradients], *rest: Any) -> None:
        more = {name: {made: value * 1.001 for made, value in found.items()} for name, found in at_maps.items()}
        through_encoder(self, run, more, *rest)

    monkeypatch.setattr(BlockPasses, "through_encoder", otherwise)
    label = "merged gradients, fp32 block by block beside one graph"
    assert results(by_block(subject)) == {f"{label}, every channel kept": "failed", label: "passed"}


def test_other_scores_are_found(subject: Subject) -> None:
    subject.config.model.adapter.gate_scope = "batch"  # with which a prediction depends on its batch mates
    monkey = pytest.MonkeyPatch()
    monkey.setattr("samsod.benchmarks.gpu_check.numbers.SCORES", 1e-9)
    (finding,) = scores(subject)
    monkey.undo()
    assert finding.result == "failed"
    depth = replace(subject.config, model=replace(subject.config.model, modalities=["rgb", "depth"]))
    assert [finding.result for finding in scores(replace(subject, config=depth))] == ["skipped"]


def test_host_reads_are_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Status.publish

    def reading(self: Status, step: int, losses: Any, merged: Any, scale: Tensor) -> None:
        assert scale.item() > 0
        publish(self, step, losses, merged, scale)

    monkeypatch.setattr(Status, "publish", reading)
    finding = next(host_reads(subject))
    assert finding.result == "failed" and finding.figure == "2: values read (2)"


def test_a_run_resumed_otherwise_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saver, "_load_states", lambda *_: None)  # the optimizer starts anew
    assert next(resumed(subject)).result == "failed"


def test_a_device_that_does_not_repeat_itself_is_no_fault_of_resuming(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = GradientHook.merge
    noise = iter(range(1, 1000))

    def noisy(self: GradientHook, *args: Any, **kwargs: Any) -> Any:
        merged = merge(self, *args, **kwargs)
        self.merged *= 1 + 1e-6 * next(noise)
        return merged

    monkeypatch.setattr(GradientHook, "merge", noisy)
    found = next(resumed(subject))
    assert found.result == "skipped" and "some kernel does not repeat itself" in found.figure


def test_ranks_that_differ_are_found(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def spawned(config: Any, folder: Path, count: int) -> list[dict[str, Any]]:
        right = ranks_check._work(config, folder / "again", torch.device("cpu"))
        wrong = {"gradient": right["gradient"] * 1.001, "weights": right["weights"] + 1}
        return [right, {**right, **wrong, "scores": {**right["scores"], "S": right["scores"]["S"] + 1e-6}}]

    monkeypatch.setattr(ranks_check, "_spawned", spawned)
    assert [finding.result for finding in ranks(subject)] == ["failed"] * 3
    assert [finding.result for finding in ranks(replace(subject, ranks=1))] == ["skipped"]


def test_what_is_no_number_is_too_large() -> None:
    assert compared("x", 1.0, [0.5, 0.25]) == Finding("x", "passed", "0.5", "1")
    assert compared("x", 1.0, [0.5, float("nan"), 0.25]).result == "failed"
