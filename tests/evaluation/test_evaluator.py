from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config import Config
from samsod.data.decoding.images import cv2, read_truth
from samsod.data.sources.catalog import Pair, PairSet, find_set
from samsod.evaluation.evaluator import FINAL, evaluate, to_grey, validate
from samsod.evaluation.metrics.saliency import SaliencyMetrics
from samsod.evaluation.testing import run_test
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.ranks import run_ranks


def model_of(config: Config) -> Samsod:
    torch.manual_seed(0)
    return Samsod(config.model).eval()


def test_set(config: Config) -> PairSet:
    return find_set(config.data.test[0], "", config.model.modalities)


test_set.__test__ = False  # type: ignore[attr-defined]


def test_results_are_those_of_the_saved_maps(config: Config, tmp_path: Path) -> None:
    pairs = test_set(config)
    results = run_test(model_of(config), [pairs], config, tmp_path / "out")
    metrics = SaliencyMetrics()
    for pair in pairs.pairs:
        saved = cv2.imread(str(tmp_path / "out" / "maps" / "again" / f"{pair.stem}.png"), cv2.IMREAD_UNCHANGED)
        assert saved is not None and saved.shape == read_truth(pair.ground_truth).shape
        assert (saved.min(), saved.max()) == (0, 255)
        metrics.step(saved, read_truth(pair.ground_truth))
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == results[FINAL] == {"again": metrics.result()}
    assert set(written["again"]) == {"S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "wF", "MAE", "images"}


def test_streams_and_overall(config: Config, tmp_path: Path) -> None:
    config.test.streams = True
    pairs = test_set(config)
    few = PairSet("few", pairs.pairs[:3])
    results = run_test(model_of(config), [pairs, few], config, tmp_path)
    assert set(results) == {"final", "fusion", "rgb", "thermal"}
    assert json.loads((tmp_path / "streams.json").read_text()) == results
    scores = results["final"]
    assert scores["Overall"]["images"] == 15
    assert scores["Overall"]["S"] == pytest.approx((12 * scores["again"]["S"] + 3 * scores["few"]["S"]) / 15)


def test_a_failed_test_leaves_nothing_half_written(config: Config, tmp_path: Path) -> None:
    pairs = test_set(config)
    pairs.pairs[7].reference.write_bytes(pairs.pairs[7].reference.read_bytes()[:100])
    with pytest.raises(UserError, match=r"007\.png"):
        run_test(model_of(config), [pairs], config, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_batch_size_and_workers_do_not_change_results(config: Config) -> None:
    model, pairs = model_of(config), test_set(config)
    other = replace(config, test=replace(config.test, batch_size=5), data=replace(config.data, workers=1))
    first, second = (evaluate(model, pairs, c)[FINAL].result() for c in (config, other))
    assert first == pytest.approx(second, abs=2e-3)


def test_scoring_in_threads_changes_no_bit(config: Config, tmp_path: Path) -> None:
    model, pairs = model_of(config), test_set(config)
    config.test.streams, config.test.contact_sheet = True, 0
    alone = run_test(model, [pairs], config, tmp_path / "0")
    threads = run_test(model, [pairs], replace(config, data=replace(config.data, workers=2)), tmp_path / "2")
    assert threads == alone
    for name in ("results.json", "streams.json", *(f"maps/again/{i:03d}.png" for i in range(12))):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_while_scoring_is_one_line_and_ends_the_threads(config: Config, tmp_path: Path, workers: int) -> None:
    pairs = test_set(config)

    def save(pair: Pair, grey: np.ndarray) -> None:
        if pair.stem == "003":
            raise UserError("the disk is full")

    config = replace(config, data=replace(config.data, workers=workers))
    with pytest.raises(UserError, match=r"^the disk is full$"):
        evaluate(model_of(config), pairs, config, save=save)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("scoring")]


def score_on_ranks(config: Config) -> dict[str, float]:
    return evaluate(model_of(config), test_set(config), config)[FINAL].result()


def test_ranks_score_each_image_once(config: Config) -> None:
    alone = score_on_ranks(config)
    for result in run_ranks(score_on_ranks, 2, config):
        assert result == pytest.approx(alone, abs=1e-3)
        assert result["images"] == 12


def test_more_ranks_than_images(config: Config) -> None:
    pairs = Path(config.data.test[0].root)
    for path in [p for folder in ("RGB", "T", "GT") for p in (pairs / folder).iterdir() if p.stem != "000"]:
        path.unlink()
    assert [result["images"] for result in run_ranks(score_on_ranks, 2, config)] == [1, 1]


def test_rgb_alone_draws_and_scores(config: Config, tmp_path: Path) -> None:
    config = replace(config, model=replace(config.model, modalities=["rgb"]))
    config.test.streams = True
    assert set(run_test(model_of(config), [test_set(config)], config, tmp_path)) == {"final", "rgb"}
    assert (tmp_path / "contact_sheet.png").is_file()


def test_validation_counts_all_images(config: Config) -> None:
    pairs = test_set(config)
    scores = validate(model_of(config), [pairs, PairSet("few", pairs.pairs[:3])], config)
    assert scores["images"] == 15 and "wF" not in scores


def test_two_sets_of_one_name_are_refused(config: Config, tmp_path: Path) -> None:
    pairs = test_set(config)
    with pytest.raises(UserError, match="name of its own"):
        run_test(model_of(config), [pairs, pairs], config, tmp_path)
    with pytest.raises(UserError, match="no data set"):
        run_test(model_of(config), [], config, tmp_path)


def test_grey_maps() -> None:
    saliency = np.linspace(0.2, 0.6, 16, dtype=np.float32).reshape(4, 4)
    assert to_grey(saliency, (8, 6), normalize=True).shape == (8, 6)
    assert (to_grey(saliency, (4, 4), True).min(), to_grey(saliency, (4, 4), True).max()) == (0, 255)
    assert (to_grey(saliency, (4, 4), False).min(), to_grey(saliency, (4, 4), False).max()) == (51, 153)
    assert (to_grey(np.full((4, 4), 0.4, np.float32), (4, 4), True) == 102).all()
