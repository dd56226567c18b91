"""The metrics against PySODMetrics' golden values, literal definitions and their own contract."""

from __future__ import annotations

import doctest
import json
import pickle
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samsod.evaluation.metrics import saliency as module
from samsod.evaluation.metrics import subject
from samsod.evaluation.metrics.choice import QUICK, STANDARD
from samsod.evaluation.metrics.saliency import SaliencyMetrics, mean_scores, overall, score_image
from samsod.evaluation.metrics.subject import ADAPTIVE, CURVE

MAKER = runpy.run_path(str(Path(__file__).with_name("make_golden_metrics.py")))
CASES: dict[str, tuple[np.ndarray, np.ndarray]] = MAKER["cases"]()
GOLDEN: dict[str, dict[str, Any]] = json.loads(MAKER["GOLDEN"].read_text())
CURVES = {"f": "F", "e": "E", "precision": "precision", "recall": "recall"}
NAMES = ["S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "wF", "MAE", "images"]


def scored(*names: str, metrics: Sequence[str] = STANDARD) -> SaliencyMetrics:
    gathered = SaliencyMetrics(metrics)
    for name in names:
        gathered.step(*CASES[name])
    return gathered


def assert_as_golden(names: Sequence[str], golden: dict[str, Any]) -> None:
    result = scored(*names).result()
    mean = mean_scores(scored(*names, metrics=[*CURVES.values()]).images)
    for name in NAMES[:-1]:
        if golden[name] is not None:
            assert result[name] == pytest.approx(golden[name], rel=0, abs=1e-12), name
    for name, metric in CURVES.items():
        np.testing.assert_allclose(mean[metric][list(MAKER["THRESHOLDS"])], golden[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_reference(name: str) -> None:
    assert_as_golden([name], GOLDEN[name])


def test_maps_too_large_to_count_in_float32_have_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(CASES))
    before = scored(name).result()
    monkeypatch.setattr(subject, "EXACT", 0)
    assert scored(name).result() == before


def test_a_data_set_is_averaged_as_in_the_reference() -> None:
    known = [name for name in CASES if GOLDEN[name]["S"] is not None]
    assert_as_golden(known, GOLDEN["data set"])


def test_every_golden_figure_has_its_case() -> None:
    assert GOLDEN.keys() - {"data set"} == CASES.keys()


def test_empty_regions_of_the_s_measure_count_nothing_where_the_reference_has_nan() -> None:
    unknown = {name.split(" / ")[0] for name in CASES if GOLDEN[name]["S"] is None}
    assert unknown == {"corner", "one column"}
    assert scored("corner / equal").result()["S"] == pytest.approx(1, abs=1e-8)  # off by the epsilons
    assert all(0 <= image["S"] <= 1 for image in scored(*CASES).images)


@pytest.mark.parametrize("shape", [(5000, 1), (1, 5000), (1, 1), (2, 1)])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_every_shape_has_scores_in_range(shape: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(0)
    image = score_image(random.integers(0, 256, shape).astype(np.uint8), random.random(shape) < share)
    assert all(0 <= value <= 1 for value in (*image["S"], *image["MAE"], *image["wF"], image["F"][ADAPTIVE]))
    pixels = shape[0] * shape[1]
    largest = image["E"][:CURVE].max()
    assert largest <= pixels / max(pixels - 1, 1) + 1e-9  # the reference's N - 1; of one pixel 4.5e15 there


def test_a_prediction_equal_to_the_truth_is_perfect() -> None:
    truth = CASES["blob / equal"][1]
    result = scored("blob / equal").result()
    assert result["S"] == pytest.approx(1, abs=1e-12)
    assert result["maxF"] == result["adpF"] == 1
    assert result["wF"] == pytest.approx(1, abs=1e-12)
    assert result["maxE"] == pytest.approx(truth.size / (truth.size - 1), abs=1e-12)  # the reference's N - 1
    assert result["MAE"] == 0


@pytest.mark.parametrize("name", ["blob / close", "black / soft", "white / noise", "noise / tie"])
def test_curves_agree_with_a_loop_over_thresholds(name: str) -> None:
    prediction, truth = CASES[name][0], CASES[name][1] > 128
    scaled = prediction / 255
    scaled = ((scaled - scaled.min()) / (scaled.max() - scaled.min()) * 255).astype(np.uint8)
    scores = score_image(prediction, truth, [*CURVES.values()])
    for threshold in range(256):
        kept = scaled >= threshold
        precision, recall = literal_precision_recall(kept, truth)
        assert scores["precision"][threshold] == pytest.approx(precision, abs=1e-12)
        assert scores["recall"][threshold] == pytest.approx(recall, abs=1e-12)
        f = 1.3 * precision * recall / (0.3 * precision + recall) if precision * recall else 0.0
        assert scores["F"][threshold] == pytest.approx(f, abs=1e-12)
        assert scores["E"][threshold] == pytest.approx(literal_e(kept, truth), abs=1e-12)


def literal_precision_recall(kept: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    hits = int((kept & truth).sum())
    return hits / max(int(kept.sum()), 1), hits / max(int(truth.sum()), 1)


def literal_e(kept: np.ndarray, truth: np.ndarray) -> float:
    """E-measure pixel by pixel, straight from the paper."""
    if not truth.any():
        aligned = 1.0 - kept
    elif truth.all():
        aligned = 1.0 * kept
    else:
        a, b = kept - kept.mean(), truth - truth.mean()
        aligned = (2 * a * b / (a * a + b * b + np.spacing(1)) + 1) ** 2 / 4
    return float(aligned.sum()) / (truth.size - 1)


def test_the_order_of_the_images_does_not_matter() -> None:
    names = list(CASES)
    forwards = scored(*names).result()
    shuffled = [names[i] for i in np.random.RandomState(0).permutation(len(names))]
    assert scored(*shuffled).result() == pytest.approx(forwards, rel=0, abs=1e-12)


def test_memory_layout_and_type_of_the_truth_do_not_matter() -> None:
    prediction, truth = CASES["two blobs / close"]
    plain = score_image(prediction, truth)
    other = score_image(np.asfortranarray(prediction), np.asfortranarray(truth > 128))
    assert {name: values.tolist() for name, values in plain.items()} == {
        name: values.tolist() for name, values in other.items()
    }
    doubled = np.repeat(np.repeat(prediction, 2, axis=0), 2, axis=1)[::2, ::2]
    assert score_image(doubled, truth)["S"] == plain["S"]


def test_inputs_are_left_as_they_were() -> None:
    prediction, truth = (array.copy() for array in CASES["blob / close"])
    score_image(prediction, truth)
    np.testing.assert_array_equal(prediction, CASES["blob / close"][0])
    np.testing.assert_array_equal(truth, CASES["blob / close"][1])


def test_scores_survive_pickling_and_extend_adds_them() -> None:
    metrics = scored("blob / soft", "lines / noise")
    other = SaliencyMetrics()
    other.extend(pickle.loads(pickle.dumps(metrics.images)))
    assert other.result() == metrics.result()
    assert list(other.result()) == NAMES
    assert other.result()["images"] == 2


def test_without_the_weighted_f_measure_it_is_left_out() -> None:
    metrics = scored("blob / soft", metrics=QUICK)
    assert "wF" not in metrics.images[0]
    assert list(metrics.result()) == [name for name in NAMES if name != "wF"]
    metrics.extend(scored("blob / noise").images)
    with pytest.raises(ValueError, match="scored with different metrics"):
        metrics.result()


def test_overall_weights_data_sets_by_their_images() -> None:
    first, second = scored("blob / soft", "blob / close"), scored("lines / close")
    mean = overall({"a": first.result(), "b": second.result()})
    assert list(mean) == NAMES
    assert mean["images"] == 3
    assert mean["S"] == pytest.approx(np.mean([i["S"] for i in first.images + second.images]), abs=1e-12)
    expected = (2 * first.result()["maxF"] + second.result()["maxF"]) / 3
    assert mean["maxF"] == pytest.approx(expected, abs=1e-12)


def test_overall_refuses_what_it_cannot_average() -> None:
    with pytest.raises(ValueError, match="no data set"):
        overall({})
    with pytest.raises(ValueError, match="'a' and 'b' differ in their metrics: only one has wF"):
        overall({"a": {"S": 1.0, "wF": 1.0, "images": 1}, "b": {"S": 1.0, "images": 1}})


def test_nothing_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="no image was scored"):
        SaliencyMetrics().result()
    with pytest.raises(ValueError, match="no image was scored"):
        mean_scores([])


MAP = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (MAP, MAP.T, r"differ in shape: \(4, 5\) and \(5, 4\)"),
        (MAP.astype(np.float32), MAP, r"prediction must be .* uint8 array, got float32 of shape \(4, 5\)"),
        (MAP[None], MAP[None], r"prediction must be a two-dimensional .* of shape \(1, 4, 5\)"),
        (MAP, MAP.astype(np.int64), "truth must be bool or uint8, got int64"),
        (MAP[:0], MAP[:0], r"empty: shape \(0, 5\)"),
    ],
)
def test_what_cannot_be_scored_is_named(prediction: np.ndarray, truth: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_image(prediction, truth)


def test_the_docstrings_example_holds() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
