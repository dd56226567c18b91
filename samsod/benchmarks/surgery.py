"""Merging the gradients of a step, beside torchjd's PCGrad on the same rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from samsod.benchmarks.timing import Work
from samsod.surgery.hook import GradientHook, gram_matrix
from samsod.surgery.rules.rule import RuleContext

OURS, TORCHJD = "surgery alone", "torchjd's PCGrad"
MISSING = "torchjd is not installed, so surgery is not compared with it: pip install 'samsod[rules]'"


def surgery_works(hook: GradientHook) -> dict[str, Work]:
    """What merges the rows that the last step left in the hook, group by group: we, and torchjd where it is installed.

    Both get the rows as they lie in memory, all groups with more than one; nothing is averaged over ranks. Nothing is
    timed where every group has one row, or of a rule that asks for the streams' scores.
    """
    several = [(group.name, rows) for group, rows in zip(hook.groups, hook.rows.by_group, strict=True) if len(rows) > 1]
    if not several or any(getattr(rule, "score", None) for rule in hook.rules.values()):
        return {}
    works: dict[str, Work] = {OURS: lambda: [merged(hook, name, rows) for name, rows in several]}
    if aggregate := torchjd_pcgrad():
        works[TORCHJD] = lambda: [aggregate(rows) for _, rows in several]
    return works


def torchjd_pcgrad() -> Callable[[Tensor], Tensor] | None:
    """Torchjd's PCGrad, from rows `[m,n]` to their merged gradient `[n]`, a sum; None where it is not installed."""
    try:
        aggregator: Any = importlib.import_module("torchjd.aggregation").PCGrad()
    except ImportError:
        return None

    def aggregate(rows: Tensor) -> Tensor:
        with torch.no_grad():
            merged: Tensor = aggregator(rows)
        return merged

    return aggregate


def merged(hook: GradientHook, group: str, rows: Tensor) -> Tensor:
    """The merged gradient `[n]` of a group's rows `[m,n]`, in the steps of `GradientHook.merge`."""
    losses = next(each.losses for each in hook.groups if each.name == group)
    context = RuleContext(0, group, dict.fromkeys(losses, rows.new_zeros(())), hook.seed)
    return hook.rules[group].weights(gram_matrix(rows), context).to(rows.dtype) @ rows
