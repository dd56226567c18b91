"""No surgery: the plain sum of the losses' gradients."""

from __future__ import annotations

from torch import Tensor

from samsod.registry import RULES
from samsod.surgery.rules.rule import RuleContext, StatelessRule


@RULES.register("sum")
class Sum(StatelessRule):
    """The gradient of the summed losses (Eq. 8), in one backward pass.

    Args:
        diagnostics: Take the gradient of every loss all the same, for the logged cosines and norms.

    Attributes:
        summed: Whether the losses may be summed before they are differentiated.
    """

    def __init__(self, diagnostics: bool = False) -> None:
        self.summed = not diagnostics

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of one, `[m]` float64."""
        del context
        return gram.new_ones(len(gram))
