"""The gradient hook: from the losses of a step to one merged gradient per parameter group.

Each group's rows, averaged over the ranks, are merged by a rule that needs only their Gram matrix. (Merging on every
rank and averaging after is another algorithm.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samsod.config import RuleConfig
from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.surgery.diagnostics import Diagnostics
from samsod.surgery.rows import Differentiate, GradientRows, split_like
from samsod.surgery.rules.rule import Rule, RuleContext, build_rule
from samsod.surgery.scores import Score
from samsod.utils.errors import UserError

SUM = "sum"
"""Name of the row that all losses make together."""

GRAM_CHUNK = 1 << 18
"""Columns of the rows that are held in float64 at a time on a CPU, where they should stay in its cache."""
GRAM_CHUNK_ELSEWHERE = 1 << 22
"""The same on a GPU, where launching an operator costs more than its memory."""


@dataclass(frozen=True)
class MergedStep:
    """What a step comes to over all ranks, left on the device.

    Attributes:
        losses: The losses by name, means over the ranks.
        told: What the ranks told each other beside, averaged over them.
        diagnostics: What the gradients say about each other.
        finite: 1 when all of the merged gradient is finite, else 0.
    """

    losses: dict[str, Tensor]
    told: Tensor
    diagnostics: Diagnostics
    finite: Tensor


class GradientHook:
    """Turns the losses of a step into one merged gradient per parameter group.

    A rule with an attribute `summed` that is true promises to give every row the weight one. Then the losses are summed
    first, and one backward pass makes one row a group. That is exact as long as no loss reaches a group beside those
    that the group lists, which is looked at in the first step.

    Args:
        groups: The parameter groups, together all that is trained.
        rule: The rule; every group gets an instance of its own.
        seed: The run's seed, shared by all ranks.
        told: How many figures the ranks tell each other beside rows and losses.
        reduce_dtype: Type the rows travel in.
        differentiate: How gradients are computed; None: by one backward pass for each loss.

    Raises:
        UserError: There is no such rule, it does not take its options, or a package it needs is missing.
    """

    def __init__(
        self,
        groups: ParameterGroups,
        rule: RuleConfig,
        seed: int,
        told: int = 0,
        reduce_dtype: torch.dtype = torch.float32,
        differentiate: Differentiate | None = None,
    ) -> None:
        self.groups, self.seed = groups, seed
        self.rules: dict[str, Rule] = {group.name: build_rule(rule) for group in groups}
        self._score: Score | None = getattr(next(iter(self.rules.values())), "score", None)
        self._scores: dict[str, Tensor] = {}
        self.parameters = [p for group in groups for p in group.parameters]
        self._summed = all(getattr(rule, "summed", False) for rule in self.rules.values())
        self._reach_checked = False
        streams = len({name for group in groups for name in group.losses})
        figures = streams * (2 if self._score else 1) + told
        rows = ParameterGroups(group._replace(losses=(SUM,)) for group in groups) if self._summed else groups
        self.rows = GradientRows(rows, figures, reduce_dtype, differentiate)
        self.merged = torch.zeros(sum(p.numel() for p in self.parameters), device=self.parameters[0].device)
        self._merged_by_group = self.merged.split([rows.shape[1] for rows in self.rows.by_group])
        self._gradients = split_like(self.merged, self.parameters)

    def clear(self) -> None:
        """Empties the rows for the next step."""
        self.rows.clear()
        self._scores = {}

    def accumulate(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradients of a micro-batch's losses to the rows; see `GradientRows.accumulate`.

        Raises:
            UserError: The rule sums the losses, and one of them reaches a group that does not list it.
        """
        if not self._summed:
            self.rows.accumulate(losses)
            return
        if not self._reach_checked:
            check_reach(self.groups, losses, self.rows.differentiate)
            self._reach_checked = True
        self.rows.accumulate({SUM: torch.stack(list(losses.values())).sum()})

    def add_scores(self, streams: Mapping[str, Tensor], batch: Mapping[str, Tensor], share: float) -> None:
        """Adds a micro-batch's share of the streams' scores, when the rule asks for them.

        Args:
            streams: Logits `[B,1,H,W]` by the names of the losses.
            batch: The micro-batch.
            share: Its part of this rank's batch.
        """
        if self._score is not None:
            with torch.no_grad():
                for name, logits in streams.items():
                    self._scores[name] = self._scores.get(name, 0.0) + share * self._score(logits, batch)

    def merge(
        self, step: int, losses: Mapping[str, Tensor], told: Tensor | None = None, scale: Tensor | float = 1.0
    ) -> MergedStep:
        """Averages rows and losses over the ranks, merges each group's rows and sets every parameter's `.grad`.

        Args:
            step: Optimizer steps taken before this one.
            losses: This rank's losses by name, detached and without the loss scale.
            told: What this rank tells the others, float32.
            scale: Loss scale the rows carry (fp16), a power of two; the gradients carry it until they are unscaled.
        """
        figures = torch.stack([*losses.values(), *self._scores.values()])
        means = self.rows.average(figures if told is None else torch.cat([figures, told]))
        averaged = dict(zip(losses, means, strict=False))
        scores = dict(zip(self._scores, means[len(losses) :], strict=False))
        square = torch.as_tensor(scale, dtype=torch.float64, device=means.device).square()
        grams = {}
        for group, rows, merged in zip(self.groups, self.rows.by_group, self._merged_by_group, strict=True):
            grams[group.name] = gram = gram_matrix(rows) / square
            mine = {name: averaged[name] for name in group.losses}
            context = RuleContext(step, group.name, mine, self.seed, scores)
            merged.copy_(self._merge_group(group, rows, gram, context))
        for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
            parameter.grad = gradient
        finite = torch.isfinite(self.merged.sum()).float()
        diagnostics = Diagnostics(grams, {group.name: group.losses for group in self.rows.groups})
        return MergedStep(averaged, means[len(losses) + len(scores) :], diagnostics, finite)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The state of every group's rule."""
        return {name: dict(rule.state_dict()) for name, rule in self.rules.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes up the state of every group's rule."""
        for name, rule in self.rules.items():
            rule.load_state_dict(state[name])

    def _merge_group(self, group: ParameterGroup, rows: Tensor, gram: Tensor, context: RuleContext) -> Tensor:
        """The merged gradient `[n]` of rows `[m,n]`; one row needs no surgery."""
        if len(rows) == 1:
            return rows[0]
        weights = self.rules[group.name].weights(gram, context)
        if weights.shape != gram.shape[:1]:
            raise ValueError(
                f"gradient rule {type(self.rules[group.name]).__name__}: expected {len(rows)} weights for the group "
                f"{group.name}, found the shape {list(weights.shape)}"
            )
        return weights.detach().to(rows.dtype) @ rows


def check_reach(groups: ParameterGroups, losses: Mapping[str, Tensor], differentiate: Differentiate) -> None:
    """Raises UserError when a loss reaches the parameters of a group that does not list it; graphs are kept."""
    outside: dict[str, dict[Tensor, str]] = {
        name: {p: g.name for g in groups if name not in g.losses for p in g.parameters} for name in losses
    }
    asked = {name: losses[name] for name, parameters in outside.items() if parameters}

    def refuse(name: str, gradients: Mapping[Tensor, Tensor]) -> None:
        for parameter in gradients:
            raise UserError(
                f"the loss {name} reaches the parameter group {outside[name][parameter]}, which does not list it, so "
                "that the losses cannot be summed first; set engine.gradient_rule.options={diagnostics: true}"
            )

    differentiate(asked, outside, refuse, keep=True)


def gram_matrix(rows: Tensor) -> Tensor:
    """Dot products of the rows of `[m,n]` in float64, `[m,m]`.

    Pair by pair, m(m+1)/2 of them: consumer GPUs hardly have units for matrix products in float64, and the sums of
    `vecdot` are pairwise, which rounds to 1e-15 of the rows' lengths where a matrix product does to 1e-13.
    """
    gram = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for chunk in rows.split(GRAM_CHUNK if rows.is_cpu else GRAM_CHUNK_ELSEWHERE, dim=1):
        wide = chunk.double()
        for index, row in enumerate(wide):
            gram[index, index:] += torch.linalg.vecdot(wide[index:], row)
    return gram.triu() + gram.triu(1).T
