"""The weighted F-measure against its definition, pixel by pixel, on images that are cut into windows and bands."""

from __future__ import annotations

import numpy as np
import pytest

from samsod.evaluation.metrics import distance, weighted_f
from samsod.evaluation.metrics.distance import BAND, FAR
from samsod.evaluation.metrics.saliency import score_image


def literal(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Eq. 5 to 10 of Margolin et al. over the whole image; of equally near pixels the leftmost, then the upper."""
    low, high = int(prediction.min()), int(prediction.max())
    values = prediction / 255 if low == high else (prediction.astype(float) - low) / (high - low)
    error = np.abs(values - truth)
    columns, rows = np.nonzero(truth.T)
    row, column = np.mgrid[: truth.shape[0], : truth.shape[1]]
    squares = (row[..., None] - rows) ** 2 + (column[..., None] - columns) ** 2
    nearest, away = squares.argmin(axis=-1), np.sqrt(squares.min(axis=-1))
    padded = np.pad(error[rows[nearest], columns[nearest]], 3)
    offsets = np.arange(-3, 4)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 50)
    smooth = (np.lib.stride_tricks.sliding_window_view(padded, (7, 7)) * weights / weights.sum()).sum(axis=(2, 3))
    eased = np.where(truth, np.minimum(error, smooth), error)
    weighted = eased * np.where(truth, 1, 2 - np.exp(np.log(0.5) / 5 * away))
    missed, false_alarms = weighted[truth].sum(), weighted[~truth].sum()
    hits = truth.sum() - missed
    recall, precision = 1 - weighted[truth].mean(), hits / (hits + false_alarms + np.spacing(1))
    return float(2 * recall * precision / (recall + precision + np.spacing(1)))


def scene(height: int, width: int, *points: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A truth of 5×5 squares around these points, and a map that is bright there and has noise all over."""
    random = np.random.RandomState(0)
    prediction, truth = random.randint(0, 40, (height, width)), np.zeros((height, width), bool)
    for row, column in points:
        truth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = True
    return (prediction + truth * 200).astype(np.uint8), truth


@pytest.mark.parametrize("points", [[(30, 20)], [(0, 0), (59, 899)], [(59, 450), (10, 440), (11, 447)]])
def test_noise_all_over_counts_as_in_the_definition(points: list[tuple[int, int]]) -> None:
    prediction, truth = scene(60, 900, *points)
    assert truth.size > 2 * BAND
    assert score_image(prediction, truth, ["wF"])["wF"] == pytest.approx(literal(prediction, truth), rel=0, abs=1e-12)


@pytest.mark.parametrize("away", [3, 20, FAR - 1, FAR, FAR + 1, 2 * FAR])
def test_a_single_false_alarm_counts_wherever_it_is(away: int) -> None:
    prediction, truth = scene(40, 900, (20, 100))
    prediction[~truth] = 7
    prediction[21, 102 + away] = 255
    assert score_image(prediction, truth, ["wF"])["wF"] == pytest.approx(literal(prediction, truth), rel=0, abs=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0, 254), (17, 255), (80, 81), (254, 255)])
def test_a_map_of_any_range_counts_as_in_the_definition(low: int, high: int) -> None:
    _, truth = scene(40, 300, (20, 100), (3, 250))
    random = np.random.RandomState(2)
    prediction = np.where(truth, high, random.randint(low, high + 1, truth.shape)).astype(np.uint8)
    assert score_image(prediction, truth, ["wF"])["wF"] == pytest.approx(literal(prediction, truth), rel=0, abs=1e-12)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_constant_map_counts_as_in_the_definition(level: int) -> None:
    _, truth = scene(30, 600, (4, 30), (20, 580))
    prediction = np.full(truth.shape, level, np.uint8)
    assert score_image(prediction, truth, ["wF"])["wF"] == pytest.approx(literal(prediction, truth), rel=0, abs=1e-12)


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(1)
    truth = random.rand(70, 50) < 0.3
    prediction = np.where(truth, random.randint(0, 256, truth.shape), random.randint(0, 90, truth.shape)).astype(
        np.uint8
    )
    whole = score_image(prediction, truth, ["wF"])["wF"]
    for band in (1, 50 * 2, 50 * 5 + 1):
        for module, name in ((distance, "BAND"), (weighted_f, "BAND"), (weighted_f, "SMOOTHED")):
            monkeypatch.setattr(module, name, band)
        assert score_image(prediction, truth, ["wF"])["wF"] == pytest.approx(whole, rel=0, abs=1e-13)
