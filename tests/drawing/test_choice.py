from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samsod.data.sources.catalog import Pair, PairSet
from samsod.drawing.choice import find_images, image_metric, ranked_images
from samsod.evaluation.metrics.choice import chosen_columns
from samsod.evaluation.metrics.saliency import ImageScores, SaliencyMetrics, score_image
from samsod.evaluation.tables.text import METRICS
from samsod.utils.errors import UserError


def scores_with(s: float, mae: float) -> ImageScores:
    return {"S": np.array([s]), "MAE": np.array([mae])}


SCORES = {
    "a": {"1": scores_with(0.9, 0.3), "2": scores_with(0.5, 0.1), "3": scores_with(0.7, 0.2)},
    "b": {"1": scores_with(0.6, 0.5), "4": scores_with(0.8, 0.4)},
}


def test_images_are_ranked_over_all_sets() -> None:
    assert ranked_images(SCORES, "S", "worst", 2) == [("a", "2"), ("b", "1")]
    assert ranked_images(SCORES, "S", "best", 2) == [("a", "1"), ("b", "4")]
    assert ranked_images(SCORES, "S", "spread", 3) == [("a", "2"), ("a", "3"), ("a", "1")]
    assert ranked_images(SCORES, "MAE", "worst", 2) == [("b", "1"), ("b", "4")]
    assert ranked_images(SCORES, "MAE", "best", 1) == [("a", "2")]
    assert len(ranked_images(SCORES, "S", "spread", 99)) == 5


def test_metrics_of_one_image_are_those_of_a_set_of_one() -> None:
    rng = np.random.default_rng(3)
    grey, truth = rng.integers(0, 256, (20, 30), dtype=np.uint8), rng.random((20, 30)) > 0.7
    metrics = SaliencyMetrics()
    metrics.step(grey, truth)
    expected = metrics.result()
    scores = score_image(grey, truth)
    for metric in METRICS:
        assert image_metric(scores, metric) == pytest.approx(expected[metric], abs=1e-15), metric
    with pytest.raises(UserError, match=r"no metric is called 'maxG' \(did you mean 'maxF'\?\); known: S"):
        chosen_columns(["S", "maxG"])


def test_images_are_found_by_stem_and_by_set() -> None:
    def pair_set(name: str, *stems: str) -> PairSet:
        return PairSet(name, tuple(Pair(stem, {"rgb": Path(name) / stem}, Path(name) / stem) for stem in stems))

    sets = [pair_set("a", "x", "y"), pair_set("b", "y", "z")]
    assert [(name, pair.stem) for name, pair in find_images(sets, ["z", "b/y", "x"])] == [
        ("b", "z"),
        ("b", "y"),
        ("a", "x"),
    ]
    with pytest.raises(UserError) as caught:
        find_images(sets, ["y", "yy", "x"])
    ambiguous, unknown = str(caught.value).splitlines()
    assert "say a/y or b/y" in ambiguous and "no image 'yy' in a, b" in unknown
