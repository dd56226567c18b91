"""No surgery: the mean of the losses' gradients, as PCGrad gives when nothing conflicts."""

from __future__ import annotations

from torch import Tensor

from samsod.registry import RULES
from samsod.surgery.rules.rule import RuleContext, StatelessRule


@RULES.register("mean")
class Mean(StatelessRule):
    """The gradient of the losses' mean; Adam, which divides a constant factor out, hardly tells it from their sum."""

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of 1/m, `[m]` float64."""
        del context
        return gram.new_ones(len(gram)) / len(gram)
