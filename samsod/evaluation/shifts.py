"""What cameras out of register cost: the scores of a model as the images of the other modalities are moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from samsod.config import Config
from samsod.data.sources.catalog import PairSet
from samsod.evaluation.evaluator import evaluate
from samsod.evaluation.metrics.choice import metrics_of
from samsod.modeling.samsod import SaliencyModel
from samsod.utils.errors import UserError

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))

ShiftScores = dict[str, dict[str, list[float]]]
"""Data set -> map name -> a score for each distance."""


def shift_scores(
    model: SaliencyModel, sets: Sequence[PairSet], config: Config, distances: Sequence[int], metric: str = "S"
) -> ShiftScores:
    """Scores a model with all images but the reference's moved, each distance to the right, left, down and up.

    Args:
        model: The model; it is put in evaluation mode.
        sets: The sets.
        config: The run's config, but for `test.shift`.
        distances: In pixels, as the images are stored.
        metric: Which score.

    Returns:
        The mean over the four directions, of the final map and of each stream's, for every distance.

    Raises:
        UserError: The model is tested with one modality alone, so that nothing can be moved; or as `evaluate`.
    """
    if len(config.tested_modalities()) < 2:
        raise UserError(f"nothing to move: the model is tested with {config.tested_modalities()[0]} alone")
    model.eval()
    scores: ShiftScores = {}
    for found in sets:
        for distance in distances:
            shifts = [[right * distance, down * distance] for right, down in DIRECTIONS if distance] or [[0, 0]]
            moved = [replace(config, test=replace(config.test, shift=shift)) for shift in shifts]
            results = [evaluate(model, found, one, streams=True, metrics=metrics_of([metric])) for one in moved]
            for name in results[0]:
                mean = sum(result[name].result()[metric] for result in results) / len(results)
                scores.setdefault(found.name, {}).setdefault(name, []).append(mean)
    return scores
