"""The page: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from samsod.benchmarks.gpu_check.finding import Finding
from samsod.engine.checkpoint import versions
from samsod.evaluation.tables.text import markdown_table
from samsod.utils.files import write_text
from samsod.utils.machine import cores, device_name

MARKDOWN, JSON = "gpu_check.md", "gpu_check.json"


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were made on and with."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": device_name(device),
        "GPUs": ", ".join(f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus)) or "none",
        "CPU cores": cores(),
        "load at the start": load,
        "system": platform.platform(),
        "Python": platform.python_version(),
        **versions(),
        "CUDA": torch.version.cuda or "none",
        "cuDNN": torch.backends.cudnn.version() or "none",
    }


def write_page(
    folder: Path, about: Mapping[str, Any], findings: Sequence[Finding], tables: Mapping[str, Any], done: bool
) -> None:
    """Writes both files, each whole or not at all; `tables` holds by title what was measured: `figures` and `lines`."""
    figures = {title: table["figures"] for title, table in tables.items()}
    content = {
        "finished": done,
        "machine": about,
        "checks": [asdict(finding) for finding in findings],
        "benchmark": figures,
    }
    write_text(folder / JSON, json.dumps(content, indent=1) + "\n")
    write_text(folder / MARKDOWN, _markdown(about, findings, tables, done))


def verdict(findings: Sequence[Finding]) -> str:
    """How many checks there were, by result."""
    results = [finding.result for finding in findings]
    return ", ".join(f"{results.count(result)} {result}" for result in dict.fromkeys(results)) or "none yet"


def _markdown(about: Mapping[str, Any], findings: Sequence[Finding], tables: Mapping[str, Any], done: bool) -> str:
    unfinished = [] if done else ["Not finished: more checks were to come.", ""]
    lines = [f"# GPU check on {about['device']}", "", *unfinished, f"Checks: {verdict(findings)}.", ""]
    lines += [_table(("check", "result", "figure", "limit"), [tuple(asdict(f).values()) for f in findings])]
    lines += ["", "## Machine and versions", "", _table(("what", "value"), list(about.items()))]
    for title, table in tables.items():
        lines += ["", f"## {title}", "", "```", table["lines"], "```"]
    return "\n".join(lines) + "\n"


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return markdown_table(heading, [list(map(_cell, row)) for row in rows], left=len(heading))


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", r"\|")
