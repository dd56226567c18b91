"""The figures of `by_part.measure` as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samsod.benchmarks.by_part import FORWARD, MATRIX, STEP
from samsod.benchmarks.step import OPTIMIZER, OTHER, SURGERY
from samsod.benchmarks.surgery import MISSING, OURS, TORCHJD
from samsod.evaluation.tables.text import text_table

LAST = (*SURGERY, OPTIMIZER, OTHER)
HEADING = ("", "median", "quartiles", "runs")


def figure_lines(figures: Mapping[str, Any]) -> str:
    """All of it, for people."""
    matrix = figures[MATRIX]
    rate = {key: value / 1e9 if key != "runs" else value for key, value in matrix["flops_per_second"].items()}
    rows = [
        _row(f"matrix product, {matrix['type']} (GFLOP/s)", rate),
        *_rows(f"forward, 1 pair, {figures['precision']}", figures[FORWARD]),
    ]
    if step := figures.get(STEP):
        rows += _rows(f"step, {_many(step['images'], 'pair')} on {_many(figures['ranks'], 'rank')}", step)
        rows += [_milliseconds(f"  {name}", step["parts"][name]) for name in sorted(step["parts"], key=_place)]
        rows.append(_row("  surgery: share of the step (%)", step["surgery_share"], 100))
        rows.append(_row("images/s in training", step["images_per_second"]))
        rows += [_milliseconds(name, value) for name, value in figures["surgery"].items()]
    launches = [_launches(name, figures[name]) for name in (FORWARD, STEP) if name in figures]
    heading = ("launched", "operators", "views", "GMAC", "host reads", "collectives", "MB in them", "peak GiB")
    lines = [figures["device"], text_table(HEADING, rows), text_table(heading, launches)]
    if figures.get("surgery") and OURS in figures["surgery"] and TORCHJD not in figures["surgery"]:
        lines.append(MISSING)
    return "\n".join(lines)


def _place(part: str) -> int:
    """Where a part stands in a step; the backward passes stay as they are, in their order."""
    return LAST.index(part) + 1 if part in LAST else 0


def _rows(label: str, figures: Mapping[str, Any]) -> list[list[str]]:
    rows = [
        _milliseconds(label, figures["seconds"]),
        _milliseconds("  its multiply-adds at the matrix product's rate", figures["floor_seconds"]),
        _row("  times as long as they", figures["to_floor"]),
    ]
    if "uncompiled_seconds" in figures:
        rows += [
            _milliseconds("  uncompiled", figures["uncompiled_seconds"]),
            _row("  times as long as compiled", figures["uncompiled_to_ours"]),
            ["  the first, with compiling (s)", _digits(figures["first_seconds"]), "", "1"],
        ]
    if "plain_seconds" in figures:
        rows += [
            _milliseconds("  the plain network's", figures["plain_seconds"]),
            _row("  times as long as ours", figures["plain_to_ours"]),
        ]
    return rows


def _milliseconds(label: str, spread: Mapping[str, float]) -> list[str]:
    return _row(f"{label} (ms)", spread, 1e3)


def _row(label: str, spread: Mapping[str, float], factor: float = 1.0) -> list[str]:
    median, low, high = (_digits(spread[key] * factor) for key in ("median", "low", "high"))
    return [label, median, f"{low} to {high}", str(spread["runs"])]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _digits(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:.0f}" if value >= 1e4 else f"{value:.4g}"


def _launches(name: str, figures: Mapping[str, Any]) -> list[str]:
    counts = [f"{figures[key]}" for key in ("operators", "views")]
    rest = [f"{figures[key]}" for key in ("host_reads", "collectives")]
    peak = f"{figures['peak_memory_gib']:.2f}{' since the start' * figures['peak_since_start']}"
    return [name, *counts, f"{figures['macs'] / 1e9:.2f}", *rest, f"{figures['collective_bytes'] / 1e6:.2f}", peak]
