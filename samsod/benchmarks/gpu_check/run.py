"""All checks one after the other, then the benchmark; the page is written after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from samsod.benchmarks.gpu_check.finding import Finding, Subject
from samsod.benchmarks.gpu_check.numbers import by_block, compiled, precisions, scores
from samsod.benchmarks.gpu_check.page import machine, write_page
from samsod.benchmarks.gpu_check.ranks import ranks
from samsod.benchmarks.gpu_check.runs import resumed
from samsod.benchmarks.gpu_check.waits import host_reads
from samsod.benchmarks.plain import lacks
from samsod.benchmarks.report import Report, batch_report, part_report
from samsod.benchmarks.step import synthetic_trainer
from samsod.config import Config, EngineConfig, ModelConfig, TrainConfig
from samsod.engine.compiling import compile_fault
from samsod.engine.launch import launch
from samsod.utils.files import temporary_folder

Check = Callable[[Subject], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (precisions, by_block, compiled, scores, host_reads, resumed, ranks)
BATCHES = (1, 4, 8)


def small_config() -> Config:
    """What a CPU checks in a minute: a model of a second a step."""
    model = ModelConfig(size="micro", decoder_width=32, image_size=64)
    return Config("output/micro", model=model, train=TrainConfig(batch_size=2), engine=EngineConfig(device="cpu"))


def check_device(
    configs: Sequence[Config], device: torch.device, output: Path, rounds: int, precisions: Sequence[str]
) -> list[Finding]:
    """Checks the first config's model, then times all in each precision, on a GPU compiled and not, where that works.

    The page goes into `output`, which is there.

    Returns:
        What was found; a check that raised an error counts as failed, and the others are made all the same.
    """
    about = machine(device)
    findings: list[Finding] = []
    tables: dict[str, Any] = {}
    on_gpu = device.type == "cuda"
    with temporary_folder(output, ".gpu_check-") as folder:
        first = replace(configs[0], train=replace(configs[0].train, batch_size=2, accumulate=1, clip_norm=0.0))
        subject = Subject(first, device, folder, torch.cuda.device_count() if on_gpu else 2, compiles=on_gpu)
        for check in CHECKS:
            findings += _found(check.__name__, check(subject))
            write_page(output, about, findings, tables, done=False)
    how: dict[str, Any] = {"compile": "encode+decode"} if on_gpu and not compile_fault(device) else {}
    for config in configs:
        for precision in precisions:
            title = f"Benchmark of {Path(config.output).name}, {precision}"
            engine = replace(config.engine, precision=precision, **how)  # type: ignore[arg-type]
            measured = replace(config, engine=engine)
            findings += _found(title, _benchmark(tables, title, measured, device, rounds))
            write_page(output, about, findings, tables, done=False)
    write_page(output, about, findings, tables, done=True)
    return findings


def _found(name: str, check: Iterator[Finding]) -> list[Finding]:
    """What a check found before it ended, however it ended."""
    findings: list[Finding] = []
    try:
        findings.extend(check)
    except Exception as error:
        findings.append(Finding(name, "failed", f"{type(error).__name__}: {_last_line(error)}"))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for finding in findings:
        print(f"{finding.result}: {finding.check}: {finding.figure}", flush=True)
    return findings


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else "no more was said"


def _benchmark(
    tables: dict[str, Any], title: str, config: Config, device: torch.device, rounds: int
) -> Iterator[Finding]:
    with launch(config):
        reports: list[Report] = [
            part_report(config, device, rounds, 120.0, lambda: synthetic_trainer(config, device), not lacks(config)),
            batch_report(config, device, BATCHES, rounds, 60.0),
        ]
    tables[title] = {
        "figures": {name: value for report in reports for name, value in report.figures.items()},
        "lines": "\n\n".join(report.lines for report in reports),
    }
    step = tables[title]["figures"]["step"]
    yield Finding(title, "passed", f"{step['images_per_second']['median']:.3g} images/s in training")
