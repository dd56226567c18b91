"""Gradient rules: how the gradients of several losses become one, decided from their Gram matrix alone.

A rule is an object, one instance for each parameter group. One of your own is a class registered in
`samsod.registry.RULES` by a module that `imports` names; see `Rule` for what it offers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor

from samsod.config import RuleConfig
from samsod.registry import RULES
from samsod.surgery.scores import Score
from samsod.utils.errors import UserError


@dataclass(frozen=True)
class RuleContext:
    """What a rule may know beside the Gram matrix; the same on all ranks.

    Attributes:
        step: Optimizer steps taken before this one.
        group: Name of the parameter group.
        losses: The losses whose gradients the rows are, in row order: name -> value, 0-dimensional on the device, the
            mean over the micro-batches and the ranks.
        seed: The run's seed; what is drawn from it, step and group is the same on every rank and after a resume.
        scores: The score of every stream, those without a row here too: name -> value, as `losses`; empty unless the
            rule has a `score`.
    """

    step: int
    group: str
    losses: Mapping[str, Tensor]
    seed: int = 0
    scores: Mapping[str, Tensor] = field(default_factory=dict)


class Rule(Protocol):
    """What a registered rule offers.

    It may have two attributes beside: `non_conflicting`, True when the merged gradient never has a negative dot product
    with any row; and `score`, a `samsod.surgery.scores.Score`, when it wants the streams' scores in its context.
    """

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of the rows, `[m]`: the merged gradient is `weights @ rows`.

        Nothing should be read back to the host. Under fp16 a step whose gradients overflow is skipped by the optimizer,
        but asked about too; its Gram matrix is not finite.

        Args:
            gram: Dot products of the rows, float64 `[m,m]`, m of 2 or more.
            context: Step, group and losses.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold of the rule: tensors and plain values; `{}` when it remembers nothing."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a state; its tensors lie on the CPU."""
        ...


class StatelessRule:
    """A rule that remembers nothing.

    Attributes:
        non_conflicting: Whether the merged gradient never has a negative dot product with a row.
        score: What is measured of every stream for the context; None for nothing.
    """

    non_conflicting: ClassVar[bool] = False
    score: Score | None = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


class MissingPackage(UserError):
    """A package that a rule needs is not installed."""


def build_rule(config: RuleConfig) -> Rule:
    """A new instance of the configured rule.

    Raises:
        UserError: No rule of that name is registered, or it does not take these options.
        MissingPackage: A package it needs is missing.
    """
    try:
        rule: Rule = RULES.get(config.name)(**config.options)
    except TypeError as error:
        raise UserError(
            f"engine.gradient_rule.options: {config.name} does not take {config.options}: {error}"
        ) from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"engine.gradient_rule.options: {config.name}: {error}") from None
    return rule
