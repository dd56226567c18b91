from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import read_rgb
from samsod.drawing.style import DARK, LIGHT
from samsod.drawing.threshold_curves import METRICS, Curves, draw_threshold_curves, lowest_shown, threshold_curves
from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.saliency import ImageScores, SaliencyMetrics, score_image
from tests.pictures import count_colours

RNG = np.random.default_rng(0)


Maps = dict[str, list[tuple[np.ndarray, np.ndarray]]]


def make_scores(methods: int, sets: int, images: int = 2) -> tuple[Scores, Maps]:
    """Scores of random maps, and the maps of the first method with their truths by data set."""
    scores: Scores = {}
    maps: Maps = {}
    for dataset in (f"set {i}" for i in range(sets)):
        truths = [RNG.random((12, 16)) > 0.6 for _ in range(images)]
        for method in (f"method {i}" for i in range(methods)):
            pairs = [((0.5 * truth + 0.5 * RNG.random(truth.shape)) * 255, truth) for truth in truths]
            levels = [(grey.astype(np.uint8), truth) for grey, truth in pairs]
            images_of: dict[str, ImageScores] = {
                str(i): score_image(grey, truth, METRICS) for i, (grey, truth) in enumerate(levels)
            }
            scores.setdefault(method, {})[dataset] = images_of
            maps.setdefault(dataset, levels)
    return scores, maps


def test_curves_are_means_over_the_images_at_every_threshold() -> None:
    scores, maps = make_scores(2, 2, images=3)
    curves = threshold_curves(scores)
    assert list(curves) == ["set 0", "set 1"] and list(curves["set 0"]) == ["method 0", "method 1"]
    for threshold in (1, 97, 200, 255):
        precision, recall = [], []
        for grey, truth in maps["set 1"]:
            low, high = grey.min() / 255, grey.max() / 255
            kept = np.trunc((grey / 255 - low) / (high - low) * 255) >= threshold
            precision.append((kept & truth).sum() / max(kept.sum(), 1))
            recall.append((kept & truth).sum() / truth.sum())
        found = curves["set 1"]["method 0"]
        assert found.precision[threshold] == pytest.approx(np.mean(precision), abs=1e-12)
        assert found.recall[threshold] == pytest.approx(np.mean(recall), abs=1e-12)
        e = [image["E"][threshold] for image in scores["method 0"]["set 1"].values()]
        assert found.e[threshold] == pytest.approx(np.mean(e), abs=1e-12)


def test_the_largest_f_is_that_of_the_table() -> None:
    scores, _ = make_scores(1, 1, images=4)
    metrics = SaliencyMetrics(images=scores["method 0"]["set 0"].values())
    curve = threshold_curves(scores)["set 0"]["method 0"]
    assert curve.max_f == metrics.result()["maxF"] == curve.f[curve.best]
    assert curve.max_e == metrics.result()["maxE"]


def test_axes_start_below_every_best_point() -> None:
    scores, _ = make_scores(3, 1)
    curves = threshold_curves(scores)["set 0"]
    low = lowest_shown(curves)
    assert 0 <= low < min(min(c.precision[c.best], c.recall[c.best], c.max_f) for c in curves.values())
    assert low * 10 == pytest.approx(round(low * 10))


@pytest.mark.parametrize(("methods", "sets", "figure"), [(2, 1, "all"), (3, 2, "e"), (17, 4, "f")])
def test_any_number_of_methods_and_sets_is_drawn(tmp_path: Path, methods: int, sets: int, figure: str) -> None:
    pytest.importorskip("matplotlib")
    scores, _ = make_scores(methods, sets, images=1)
    curves: Curves = threshold_curves(scores)
    theme = DARK if sets == 1 else LIGHT
    draw_threshold_curves(curves, tmp_path / "curves.png", theme, figure)
    picture = read_rgb(tmp_path / "curves.png")
    assert picture.shape[1] == (1050 if sets == 1 else 2148)
    border = np.concatenate([picture[:4].reshape(-1, 3), picture[-4:].reshape(-1, 3)])
    assert count_colours(border) == 1 and count_colours(picture) > 50  # something is drawn, and nothing is cut
