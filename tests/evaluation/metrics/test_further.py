"""The further metrics against PySODMetrics' golden values, literal definitions and their own contract."""

from __future__ import annotations

import json
import math
import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import cv2
from samsod.evaluation.metrics.choice import (
    QUICK,
    STANDARD,
    chosen_metrics,
    column_names,
    find_metric,
    metrics_of,
    smaller_columns,
)
from samsod.evaluation.metrics.further.colour import ciede2000, lab
from samsod.evaluation.metrics.further.thinning import thinned
from samsod.evaluation.metrics.metric import Metric
from samsod.evaluation.metrics.saliency import SaliencyMetrics, score_image
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS
from samsod.utils.errors import UserError

MAKER = runpy.run_path(str(Path(__file__).with_name("make_golden_metrics.py")))
CASES: dict[str, tuple[np.ndarray, np.ndarray]] = {**MAKER["cases"](), **MAKER["larger_cases"]()}
GOLDEN: dict[str, dict[str, list[float] | None]] = json.loads(MAKER["GOLDEN_FURTHER"].read_text())
REFERENCED = tuple(GOLDEN["data set"])
ALL = (*REFERENCED, "BIoU")


def columns(names: tuple[str, ...], *cases: str) -> dict[str, float]:
    """The columns of these further metrics over these cases."""
    metrics = SaliencyMetrics((*QUICK, *names))
    for case in cases:
        prediction, truth = CASES[case]
        metrics.step(prediction, truth, partial(MAKER["photo"], truth))
    return metrics.result()


@pytest.mark.parametrize("truth", dict.fromkeys(case.split(" / ")[0] for case in CASES))
def test_values_are_those_of_the_reference(truth: str) -> None:
    for case in CASES:
        if case.startswith(f"{truth} / "):
            found = columns(REFERENCED, case)
            for name, expected in GOLDEN[case].items():
                values = [found[column] for column in find_metric(name).columns]
                if expected is None:
                    assert np.isfinite(values).all(), (case, name)
                else:
                    assert values == pytest.approx(expected, rel=0, abs=1e-6), (case, name)


@pytest.mark.parametrize("name", REFERENCED)
def test_a_data_set_is_averaged_as_in_the_reference(name: str) -> None:
    some = [case for case in CASES if case.split(" / ")[0] in MAKER["DATA_SET"]]
    known = [case for case in some if GOLDEN[case][name] is not None]
    found = columns((name,), *known)
    values = [found[column] for column in find_metric(name).columns]
    assert values == pytest.approx(GOLDEN["data set"][name], rel=0, abs=1e-6)


def test_the_reference_has_no_value_only_where_the_modules_say() -> None:
    unknown = {(case.split(" / ")[0], name) for case in CASES for name in REFERENCED if GOLDEN[case][name] is None}
    assert {name for truth, name in unknown if truth == "white"} == {"SI-MAE", "SI-F"}
    assert {truth for truth, name in unknown if name == "CM"} == {"slant"}
    assert GOLDEN.keys() - {"data set"} == CASES.keys()
    assert columns(("CM",), "slant / equal")["CM"] > columns(("CM",), "slant / noise")["CM"] > 0


def literal_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with one outside it, or outside the image, at most d rows and columns away."""
    d = max(1, round(0.02 * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    padded = np.pad(mask, d)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * d + 1, 2 * d + 1))
    return mask & ~windows.all(axis=(2, 3))


@pytest.mark.parametrize("case", ["scene / near", "blob / tie", "border / soft", "small / noise", "black / soft"])
def test_boundary_iou_is_its_definition(case: str) -> None:
    prediction, truth = (array[-60:, -80:] for array in (CASES[case][0], CASES[case][1] > 128))
    levels = prediction / 255
    levels = (levels - levels.min()) / (levels.max() - levels.min())
    cuts = [np.trunc(levels * 255) >= threshold for threshold in range(256)]
    cuts += [levels >= min(2 * levels.mean(), 1), levels > 0.5]
    edge = literal_boundary(truth)
    expected = []
    for boundary in map(literal_boundary, cuts):
        union = (boundary | edge).sum()
        expected.append((boundary & edge).sum() / union if union else 0.0)
    found = score_image(prediction, truth, ["BIoU"])["BIoU"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (7, 7)])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_every_shape_has_values(shape: tuple[int, int], share: float) -> None:
    random = np.random.default_rng(0)
    prediction, truth = random.integers(0, 256, shape).astype(np.uint8), random.random(shape) < share
    photo = random.integers(0, 256, (*shape, 3)).astype(np.uint8)
    for name, values in score_image(prediction, truth, ALL, lambda: photo).items():
        assert values.shape == (find_metric(name).size,) and np.isfinite(values).all(), name
        assert values.min() >= 0 and (name == "HCE" or values.max() <= 1.3), name


def test_a_prediction_equal_to_the_truth_is_best() -> None:
    found = columns(ALL, "scene / equal")
    for name in ("IoU", "Dice", "Precision", "Recall", "Specificity", "SI-F", "MSIoU", "BIoU"):
        kinds = [column for column in found if column.endswith(name) and column[:3] in ("adp", "bin", "max")]
        assert kinds and [found[kind] for kind in kinds] == pytest.approx([1] * len(kinds), abs=1e-9)
    assert found["minBER"] == found["SI-MAE"] == found["HCE"] == 0


def test_the_large_truths_contours_are_counted_exactly_where_the_reference_overflows() -> None:
    truth = np.zeros((330, 330), bool)
    truth[::3] = True  # the other two rows of three are contours, 72,600 pixels
    found = score_image(np.where(truth, 255, 0).astype(np.uint8), truth, ["MSIoU"])["MSIoU"]
    assert found[-1] == pytest.approx(1, abs=1e-3)


def literal_skeleton(mask: np.ndarray) -> np.ndarray:
    """Zhang and Suen's rule, pixel by pixel, without scikit-image's exceptions."""
    grid = np.pad(mask, 1)
    around = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
    while True:
        before = grid.sum()
        for last in ((2, 4), (6, 0)):  # east and south, then west and north
            gone = []
            for row, column in np.argwhere(grid):
                p = [grid[row + down, column + right] for down, right in around]
                changes = sum(not p[i] and p[(i + 1) % 8] for i in range(8))
                a, b = last
                keeps = all((p[a], p[b], p[(a - 2) % 8])) or all((p[a], p[b], p[(b + 2) % 8]))
                if 2 <= sum(p) <= 6 and changes == 1 and not keeps:
                    gone.append((row, column))
            for place in gone:
                grid[place] = False
        if grid.sum() == before:
            return grid[1:-1, 1:-1]


def test_thinning_is_the_published_rule_where_no_exception_meets_it() -> None:
    disc = np.hypot(*np.ogrid[-9:10, -13:14]) < 8.2
    skeleton = thinned(disc)
    assert skeleton.sum() <= literal_skeleton(disc).sum() + 2 and (skeleton & ~disc).sum() == 0
    for mask in (disc, CASES["scene / equal"][1] > 128, CASES["noise / equal"][1] > 128):
        assert (
            cv2.connectedComponents(thinned(mask).view(np.uint8))[0] == cv2.connectedComponents(mask.view(np.uint8))[0]
        )
        np.testing.assert_array_equal(thinned(thinned(mask)), thinned(mask))


def test_colour_differences_are_the_published_ones() -> None:
    """Pairs 1, 7, 9, 17 and 25 of Sharma et al.'s table 1."""
    first = [[50, 2.6772, -79.7751], [50, 0, 0], [50, 2.49, -0.001], [50, 2.5, 0], [60.2574, -34.0099, 36.2677]]
    second = [[50, 0, -82.7485], [50, -1, 2], [50, -2.49, 0.0009], [73, 25, -18], [60.4626, -34.1751, 39.4387]]
    found = ciede2000(np.array(first), np.array(second))
    assert found == pytest.approx([2.0425, 2.3669, 7.1792, 27.1492, 1.2644], abs=5e-5)
    assert lab(np.array([[255, 255, 255], [0, 0, 0]], np.uint8)) == pytest.approx(
        np.array([[100, 0, 0], [0, 0, 0]]), abs=0.01
    )


def test_names_are_found_in_any_writing_and_by_their_columns() -> None:
    assert chosen_metrics(["iou", "si_mae", "maxBIoU", "MAE", "IoU"]) == (*STANDARD, "IoU", "SI-MAE", "BIoU")
    assert chosen_metrics(["standard"]) == STANDARD
    with pytest.raises(UserError) as caught:
        chosen_metrics(["IoU", "dise", "x"])
    first, second = str(caught.value).splitlines()
    assert "no metric is called 'dise' (did you mean 'Dice'?); known: " in first and "'x'; known" in second
    assert column_names() == ("S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "wF", "MAE")
    assert column_names([*STANDARD, "BER"]) == (*column_names(), "minBER", "meanBER", "adpBER", "binBER")
    assert metrics_of(["maxF", "minBER", "adpF", "S"]) == ("F", "BER", "S")
    assert smaller_columns() == {"MAE", "SI-MAE", "HCE", "minBER", "meanBER", "adpBER", "binBER"}


def test_the_standard_metrics_are_the_same_beside_others() -> None:
    plain = columns((), "scene / near", "blob / soft")
    more = columns(ALL, "scene / near", "blob / soft")
    assert {name: more[name] for name in plain} == plain
    assert list(more) == [*column_names(QUICK), *column_names(ALL), "images"]


def test_a_metric_of_ones_own_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    @METRICS.register("area")
    class Area(Metric):
        columns = ("area",)

        def score(self, subject: Subject) -> np.ndarray:
            return np.array([subject.positives / subject.pixels])

    assert columns(("area",), "white / soft", "black / soft")["area"] == 0.5


def test_images_scored_with_different_metrics_have_no_mean() -> None:
    metrics = SaliencyMetrics(["IoU"])
    metrics.step(*CASES["blob / soft"])
    metrics.extend([score_image(*CASES["blob / soft"], ["Dice"])])
    with pytest.raises(ValueError, match="scored with different metrics"):
        metrics.result()


def test_the_image_itself_is_asked_for_when_it_is_needed() -> None:
    prediction, truth = CASES["scene / near"]
    with pytest.raises(ValueError, match="needs the image"):
        score_image(prediction, truth, ["CCM"])
    with pytest.raises(ValueError, match="the image's shape is"):
        score_image(prediction, truth, ["CCM"], lambda: np.zeros((3, 3, 3), np.uint8))
