"""On-the-fly gradient modulation (Peng et al., CVPR 2022), its score made for segmentation: who leads learns slower."""

from __future__ import annotations

import torch
from torch import Tensor

from samsod.registry import RULES
from samsod.surgery.rules.rule import RuleContext, StatelessRule
from samsod.surgery.scores import soft_f_measure, soft_iou

SCORES = {"f_measure": soft_f_measure, "iou": soft_iou}
FUSION = "fusion"
"""The loss of all modalities together; a group that one loss reaches beside is that modality's own."""


@RULES.register("ogm")
class OGM(StatelessRule):
    """The summed gradient, of a modality that is ahead of the others times 1 - tanh(α·ρ).

    ρ is the score of the modality's own stream on the batch over the mean score of the others'; at ρ of 1 or less, and
    for groups of several modalities, nothing is changed. The paper's score is the probability of the true class; the
    noise it adds beside (GE) is not part of this rule.

    Args:
        alpha: α; the authors recommend 0.1 to 0.8, by data set.
        score: `f_measure` or `iou`, both without a threshold.

    Raises:
        ValueError: `alpha` is negative, or there is no such score.
    """

    def __init__(self, alpha: float = 0.1, score: str = "f_measure") -> None:
        if not alpha >= 0:
            raise ValueError(f"expected an alpha of 0 or more, found {alpha}")
        if score not in SCORES:
            raise ValueError(f"expected a score of {' or '.join(SCORES)}, found {score!r}")
        self.alpha, self.score = alpha, SCORES[score]

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Equal weights of the rows, `[m]` float64."""
        equal = gram.new_ones(len(gram))
        own = [name for name in context.losses if name != FUSION]
        others = [score for name, score in context.scores.items() if name not in (FUSION, *own)]
        if len(own) != 1 or not others:
            return equal
        mean = torch.stack(others).mean().clamp_min(torch.finfo(torch.float32).tiny)
        ratio = context.scores[own[0]] / mean
        return equal * torch.where(ratio > 1, 1 - torch.tanh(self.alpha * ratio), 1.0)
