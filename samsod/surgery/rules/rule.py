"""Gradient rules: how the gradients of several losses become one, decided from their Gram matrix alone.

A rule is an object, one instance for each parameter group. One of your own is a class registered in
`samsod.registry.RULES` by a module that `imports` names; see `Rule` for what it offers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from samsod.config import RuleConfig
from samsod.registry import RULES
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
    """

    step: int
    group: str
    losses: Mapping[str, Tensor]
    seed: int = 0


class Rule(Protocol):
    """What a registered rule offers."""

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
    """A rule that remembers nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


def build_rule(config: RuleConfig) -> Rule:
    """A new instance of the configured rule.

    Raises:
        UserError: No rule of that name is registered, or it does not take these options.
    """
    try:
        rule: Rule = RULES.get(config.name)(**config.options)
    except TypeError as error:
        raise UserError(
            f"engine.gradient_rule.options: {config.name} does not take {config.options}: {error}"
        ) from None
    return rule
