from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.decoding.images import read_rgb, read_truth
from samsod.data.pictures import write_png
from samsod.data.sources.catalog import PairSet, find_set
from samsod.drawing.grid import choose_images, grid_mosaics, read_samples, score_texts
from samsod.drawing.mosaic import Mosaic, Tile, draw_mosaics
from samsod.drawing.style import COLUMN, DARK, LIGHT, PAGE
from samsod.evaluation.maps.selected import find_method_maps
from samsod.evaluation.metrics.choice import columns_of
from samsod.evaluation.metrics.saliency import score_image
from samsod.utils.errors import UserError
from tests.conftest import RGBT


@pytest.fixture
def sets(pairs_folder: Path) -> list[PairSet]:
    return [find_set(DatasetConfig(root=str(pairs_folder), name="pairs"), "", RGBT)]


@pytest.fixture
def predictions(tmp_path: Path, sets: list[PairSet]) -> dict[str, Path]:
    """Two methods: one worse with every stem, in a sub-folder, and one that gives the truth."""
    folders = {"fading": tmp_path / "fading" / "Pairs", "exact": tmp_path / "exact"}
    for folder in folders.values():
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, pair in enumerate(sets[0].pairs):
        truth = read_truth(pair.ground_truth)
        noisy = np.where(rng.random(truth.shape) < index / 24, ~truth, truth)
        write_png(folders["exact"] / f"{pair.stem}.png", truth.astype(np.uint8) * np.uint8(255))
        write_png(folders["fading"] / f"{pair.stem}.png", noisy.astype(np.uint8) * np.uint8(255))
    return {"fading": tmp_path / "fading", "exact": folders["exact"]}


def test_chosen_images_follow_the_scores(sets: list[PairSet], predictions: dict[str, Path]) -> None:
    maps = find_method_maps(predictions, sets, partial=True)
    mae = {}
    assert [(item.method, item.dataset) for item in maps] == [("fading", "pairs"), ("exact", "pairs")]
    for pair, its in zip(sets[0].pairs, maps[0].pairs, strict=True):
        grey = read_rgb(its.prediction)[..., 0]
        mae[pair.stem] = float(score_image(grey, read_truth(pair.ground_truth))["MAE"][0])
    expected = sorted(mae, key=lambda stem: -mae[stem])
    assert [stem for _, stem in choose_images(maps, "worst", 3, "MAE")] == expected[:3]
    assert choose_images(maps, "best", 1, "MAE", "fading") == [("pairs", expected[-1])]
    assert len(choose_images(maps, "spread", 5, "wF", "exact")) == 5
    assert choose_images(maps, "best", 1, "binIoU", "fading") == [("pairs", "000")]  # without noise
    assert len(choose_images(maps, "best", 2, "ccm")) == 2  # which looks at the reference's image


def test_faults_are_named(sets: list[PairSet], predictions: dict[str, Path]) -> None:
    maps = find_method_maps(predictions, sets, partial=True)
    with pytest.raises(UserError, match=r"no method is called 'exakt' \(did you mean 'exact'\?\)"):
        choose_images(maps, "worst", 1, "S", "exakt")
    with pytest.raises(UserError, match="worst: expected at least 1 image, found 0"):
        choose_images(maps, "worst", 0)
    (predictions["exact"] / "003.png").unlink()
    maps = find_method_maps(predictions, sets, partial=True)
    with pytest.raises(UserError, match=r"^exact: no map for 1 images of pairs: 003$"):
        choose_images(maps, "best", 1, "S", "exact")
    with pytest.raises(UserError, match=r"^exact: no map for 003 of pairs$"):
        read_samples(sets, [("pairs", "003")], maps)
    assert len(read_samples(sets, [("pairs", "004")], maps)) == 1  # what is not drawn may be missing
    write_png(predictions["exact"] / "004.png", np.zeros((47, 48), np.uint8))
    with pytest.raises(UserError, match=r"004\.png: is 48x47"):
        read_samples(sets, [("pairs", "004")], maps)
    shutil.rmtree(predictions["exact"])
    with pytest.raises(UserError, match="exact: no such folder"):
        find_method_maps(predictions, sets, partial=True)


def test_scores_stand_below_the_maps_and_the_best_in_bold(sets: list[PairSet], predictions: dict[str, Path]) -> None:
    (sample,) = read_samples(sets, [("pairs", "009")], find_method_maps(predictions, sets, partial=True))
    fading = {name: float(value) for name, value in columns_of(sample.maps["fading"][1]).items()}
    assert score_texts(sample, "exact", ("S", "MAE")) == [("S 1.000", True), ("M .000", True)]
    assert score_texts(sample, "fading", ("S", "maxF")) == [
        (f"S {fading['S']:.3f}".replace("0.", "."), False),
        (f"maxF {fading['maxF']:.3f}".replace("0.", "."), False),
    ]
    (sample,) = read_samples(sets, [("pairs", "009")], find_method_maps(predictions, sets), ["MAE", "IoU", "CCM"])
    assert score_texts(sample, "exact", ("binIoU", "MAE")) == [("binIoU 1.000", True), ("M .000", True)]
    assert 0 < columns_of(sample.maps["fading"][1])["CCM"] < columns_of(sample.maps["exact"][1])["CCM"]


def test_many_methods_go_into_blocks(sets: list[PairSet], predictions: dict[str, Path]) -> None:
    seventeen = {f"m{i}": predictions["exact"] for i in range(17)}
    samples = read_samples(sets, [("pairs", "001"), ("pairs", "002")], find_method_maps(seventeen, sets, partial=True))
    mosaics = grid_mosaics(samples, ("S",), PAGE, DataConfig())
    assert [list(mosaic.titles[:3]) for mosaic in mosaics] == [["rgb", "thermal", "truth"]] * 3
    assert [title for mosaic in mosaics for title in mosaic.titles[3:]] == list(seventeen)
    assert [len(mosaic.titles) for mosaic in mosaics] == [9, 9, 8]
    assert [name for name, _ in mosaics[0].rows] == ["001", "002"]
    assert len(grid_mosaics(samples, ("S",), COLUMN, DataConfig())) == 9


def test_mosaics_show_the_images_where_they_belong(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 250
    heat = np.array([[0.0, 0.0], [1.0, 1.0]])
    rows = [("row", [Tile(red), Tile(np.full((40, 40), 120, np.uint8), [("S .5", True), ("M .1", False)], heat)])]
    mosaics = [Mosaic(["a", "b"], rows, {1: (0.0, 1.0)}, "remark"), Mosaic(["c"], [("low", [Tile(red[:20])])])]
    draw_mosaics(mosaics, tmp_path / "m.png", DARK, 2.0)
    picture = read_rgb(tmp_path / "m.png").astype(int)
    reds = (picture == [250, 0, 0]).all(2)
    columns, lines = np.flatnonzero(reds.any(0)), np.flatnonzero(reds.any(1))
    assert columns.max() < picture.shape[1] // 2 + 40 and lines.min() < 120 < lines.max()
    right = picture[lines.min() : lines.min() + 200, picture.shape[1] * 3 // 4]
    assert right[5, 2] > right[5, 0] and right[180, 1] > right[180, 2]  # violet above, yellow below
    draw_mosaics(mosaics, tmp_path / "light.svg", LIGHT, 2.0)
    assert (tmp_path / "light.svg").read_bytes().startswith(b"<?xml")


def test_a_picture_that_would_be_too_high_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [("row", [Tile(np.zeros((40, 40), np.uint8))])] * 3
    with pytest.raises(UserError, match=r"a picture 299 inches high .at most 200"):
        draw_mosaics([Mosaic(["a"], rows)], tmp_path / "m.png", DARK, 99.8)
    assert not list(tmp_path.iterdir())
