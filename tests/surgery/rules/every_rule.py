"""All rules there are, rows of every kind to try them on, and contexts to ask them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import samsod.surgery.rules  # noqa: F401  fills the registry
from samsod.config import RuleConfig
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.rule import Rule, RuleContext, build_rule
from samsod.surgery.rules.torchjd_rules import WEIGHTINGS
from samsod.utils.errors import UserError

OWN = ("mean", "mgda", "mmpareto", "ogm", "pcgrad", "sum")
EVERY = (*OWN, *sorted(WEIGHTINGS))
STREAMS = ("fusion", "rgb", "thermal", "depth")


def rule_of(name: str, **options: Any) -> Rule:
    """The rule; the test is skipped when a package of its is missing."""
    try:
        return build_rule(RuleConfig(name, options))
    except UserError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))


def context_of(count: int, step: int = 0, **scores: float) -> RuleContext:
    """The context of a group that the first streams' losses reach."""
    losses = {name: torch.tensor(1.0) for name in STREAMS[:count]}
    told = {name: torch.tensor(scores.get(name, 0.5)) for name in STREAMS}
    return RuleContext(step, "group", losses, 3, told)


def merge(rule: Rule, rows: Tensor, step: int = 0, **scores: float) -> Tensor:
    """The merged gradient of float64 rows."""
    return rule.weights(gram_matrix(rows), context_of(len(rows), step, **scores)) @ rows


def many_rows(lengths: float = 3.0) -> Iterator[Tensor]:
    """Rows `[m,7]` of two to four losses: random, agreeing, conflicting, opposite, dependent, one zero, all equal.

    Args:
        lengths: How many times longer than others rows may be.
    """
    generator = torch.Generator().manual_seed(5)
    for count in (2, 3, 4):
        for _ in range(3):
            rows = torch.randn(count, 7, generator=generator, dtype=torch.float64)
            rows *= lengths ** torch.rand(count, 1, generator=generator, dtype=torch.float64)
            yield rows
            yield rows.abs()
            yield rows - 1.5 * rows.mean(0)
            yield torch.cat([rows[:-1], -0.7 * rows[:1]])
            yield torch.cat([rows[:-1], -rows[:-1].sum(0, keepdim=True)])
            yield torch.cat([rows[:-1], torch.zeros(1, 7, dtype=torch.float64)])
            yield rows[:1].expand(count, -1)
