from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from samsod.config import Config
from samsod.config.schema import TestConfig
from samsod.data.dataset import PairDataset, SceneDataset
from samsod.data.decoding.images import cv2, read_saliency, read_truth
from samsod.data.pictures import to_grey, write_png
from samsod.data.sources.catalog import PairSet, find_set
from samsod.evaluation import testing
from samsod.evaluation.evaluator import evaluate, predict, validate
from samsod.evaluation.metrics.saliency import SaliencyMetrics
from samsod.evaluation.testing import run_test
from samsod.modeling.samsod import Prediction, Samsod
from samsod.utils.errors import Failure, UserError
from samsod.utils.maps import FINAL
from tests.conftest import Children
from tests.ranks import run_ranks


@pytest.fixture
def config(config: Config) -> Config:
    """With fewer forward passes."""
    return replace(config, test=replace(config.test, batch_size=4, contact_sheet=2))


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


def test_further_metrics_join_the_results(config: Config, tmp_path: Path) -> None:
    plain = run_test(model_of(config), [test_set(config)], config, tmp_path / "plain")[FINAL]["again"]
    config.test.metrics = ["iou", "CCM", "HCE"]
    more = run_test(model_of(config), [test_set(config)], config, tmp_path / "more")[FINAL]["again"]
    assert {name: more[name] for name in plain} == plain
    assert set(more) - set(plain) == {"maxIoU", "meanIoU", "adpIoU", "binIoU", "CCM", "HCE"}
    config.test.metrics = ["IuO"]
    with pytest.raises(UserError, match=r"test\.metrics: no metric is called 'IuO'"):
        run_test(model_of(config), [test_set(config)], config, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_every_mask_is_opened_once(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.test.streams, config.test.contact_sheet = True, 0
    pairs, opened, read = test_set(config), Counter[Path](), Path.read_bytes

    def counted(path: Path) -> bytes:
        opened[path] += 1
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    run_test(model_of(config), [pairs], config, tmp_path / "out")
    assert {pair.ground_truth: 1 for pair in pairs.pairs}.items() <= opened.items()


def test_scenes_are_prepared_as_in_training(config: Config) -> None:
    pairs, size = test_set(config), config.model.image_size
    trained_on, tested = PairDataset([pairs], size, config.data, False, 0), SceneDataset(pairs, size, config.data)
    assert len(tested) == len(trained_on) == 12
    for index in range(3):
        one, other = trained_on[index], tested[index]
        assert set(other) == {"rgb", "thermal", "shape", "index"} and other["index"] == index
        assert all(torch.equal(one[name], other[name]) for name in ("rgb", "thermal"))
        assert tuple(other["shape"]) == read_truth(pairs.pairs[index].ground_truth).shape


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mask_of_another_size_is_named(config: Config, workers: int) -> None:
    pair = test_set(config).pairs[2]
    write_png(pair.ground_truth, np.tile(np.array([0, 255], np.uint8), (7, 4)))
    config.data.workers = workers
    for sizes in ("equal", "any"):  # a mask is the reference's, whatever the size of the other images
        config.data.sizes = sizes
        with pytest.raises(UserError, match=r"GT/002\.png has 8x7 pixels, but .*RGB/002\.png has \d+x\d+$"):
            evaluate(model_of(config), test_set(config), config)


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


def test_any_shape_and_name_is_tested(config: Config, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    shapes = {"tall": (5000, 1), "wide": (1, 5000), "point": (1, 1), "caf\udce9": (40, 50), "two\nlines": (40, 50)}
    for folder in ("RGB", "T", "GT"):
        (root / folder).mkdir(parents=True)
        for stem, shape in shapes.items():
            grey = np.tile((np.arange(shape[1]) % 2 * 255).astype(np.uint8), (shape[0], 1))
            image = grey if folder == "GT" else np.dstack([grey] * 3)
            write_png(root / folder / f"{stem}.png", image)
    pairs = find_set(replace(config.data.test[0], root=str(root)), "", config.model.modalities)
    config = replace(config, test=replace(config.test, contact_sheet=8))
    for _ in range(2):  # the second finds them its own
        results = run_test(model_of(config), [pairs], config, tmp_path / "out")
    assert results[FINAL]["again"]["images"] == 5
    for stem, shape in shapes.items():
        assert read_saliency(tmp_path / "out" / "maps" / "again" / f"{stem}.png").shape == shape


def test_validation_is_with_all_modalities(config: Config) -> None:
    alone = replace(config, test=replace(config.test, modalities=["rgb"]))
    assert validate(model_of(config), [test_set(config)], alone) == validate(
        model_of(config), [test_set(config)], config
    )


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_failed_test_leaves_nothing_half_written(config: Config, tmp_path: Path) -> None:
    pairs, out = test_set(config), tmp_path / "out"
    image, whole = pairs.pairs[7].reference, pairs.pairs[7].reference.read_bytes()
    image.write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"007\.png"):
        run_test(model_of(config), [pairs], config, out)
    assert files_in(out) == [] and not (out / "maps").exists()
    image.write_bytes(whole)
    run_test(model_of(config), [pairs], config, out)
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    image.write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"007\.png"):
        run_test(model_of(config), [PairSet("again", pairs.pairs[4:8])], config, out)
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before


def test_maps_of_others_stay(config: Config, tmp_path: Path) -> None:
    """Only what a test wrote is replaced or taken away, and another's file in the way is named before the work."""
    pairs, maps, model = test_set(config), tmp_path / "maps" / "again", model_of(config)
    (maps / "sub").mkdir(parents=True)
    (maps / "notes.txt").write_text("mine")
    (maps / "099.png").write_text("mine")
    first, second = PairSet("again", pairs.pairs[:2]), PairSet("again", pairs.pairs[1:3])
    run_test(model, [first], config, tmp_path)
    assert files_in(maps) == ["000.png", "001.png", "099.png", "notes.txt"]
    run_test(model, [second], config, tmp_path)
    assert files_in(maps) == ["001.png", "002.png", "099.png", "notes.txt"] and (maps / "sub").is_dir()
    (maps / "000.png").write_text("mine")
    with pytest.raises(UserError, match=r"maps/again: 000\.png would be replaced, which no test wrote"):
        run_test(None, [first], config, tmp_path)  # type: ignore[arg-type]
    assert (maps / "000.png").read_text() == (maps / "099.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("place", "block", "fault"),
    [
        ("maps", "file", "is a file, expected a folder"),
        ("maps/again", "file", "is a file, expected a folder"),
        ("maps/again", "link", "which is not there"),
        ("maps/again/000.png", "folder", "000.png would be replaced"),
        ("results.json", "folder", "results.json"),
        ("contact_sheet.png", "folder", "contact_sheet.png"),
    ],
)
def test_what_is_in_the_way_is_found_before_the_work(
    config: Config, tmp_path: Path, place: str, block: str, fault: str
) -> None:
    path = tmp_path / "out" / place
    path.parent.mkdir(parents=True)
    if block == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.mkdir() if block == "folder" else path.touch()
    with pytest.raises(UserError, match=fault):
        run_test(None, [test_set(config)], config, tmp_path / "out")  # type: ignore[arg-type]


def test_a_full_disk_is_named_and_leaves_no_map(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[: len(data) // 2])
        if "005" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        run_test(model_of(config), [test_set(config)], config, tmp_path / "out")
    assert caught.value.filename == str(tmp_path / "out" / "maps" / "again" / "005.png")
    assert files_in(tmp_path / "out") == []


def test_batch_size_and_workers_do_not_change_results(config: Config) -> None:
    model, pairs = model_of(config), test_set(config)
    single = replace(config, test=replace(config.test, batch_size=1))
    other = replace(config, test=replace(config.test, batch_size=5), data=replace(config.data, workers=1))
    first, second = (evaluate(model, pairs, c)[FINAL].result() for c in (single, other))
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
def test_a_fault_while_scoring_is_one_line_and_ends_what_was_begun(
    config: Config, children: Children, workers: int
) -> None:
    pairs = test_set(config)

    def save(stem: str, grey: np.ndarray) -> None:
        if stem == "003":
            raise UserError("the disk is full")

    config = replace(config, data=replace(config.data, workers=workers))
    with pytest.raises(UserError, match=r"^the disk is full$") as caught:
        evaluate(model_of(config), pairs, config, save=save)
    assert caught.value.__traceback__ and not children()  # with all that its frames hold
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("scoring")]


def test_loader_processes_end_with_a_model_that_fails(
    config: Config, children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("oops")

    model = model_of(config)
    monkeypatch.setattr(model, "forward", fail)
    config.data.workers = 2
    with pytest.raises(KeyError, match="oops") as caught:
        run_test(model, [test_set(config)], config, tmp_path)
    assert caught.value.__traceback__ and not children()


def test_loader_processes_end_with_a_reader_that_stops_early(config: Config, children: Children) -> None:
    config.data.workers = 2
    predictions = predict(model_of(config), test_set(config), config)
    next(predictions)
    assert len(children()) == 2
    predictions.close()
    assert not children()


@pytest.mark.parametrize("modalities", [["rgb"], ["rgb", "depth", "thermal"]])
def test_any_modalities_are_scored_and_drawn(
    config: Config, tmp_path: Path, modalities: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[Any, Sequence[str]]] = []
    draw = testing.contact_sheet

    def noted(rows: Any, titles: Sequence[str]) -> np.ndarray:
        sheets.append((rows, titles))
        return draw(rows, titles)

    monkeypatch.setattr(testing, "contact_sheet", noted)
    root = Path(config.data.test[0].root)
    shutil.copytree(root / "T", root / "depth")
    config = replace(config, model=replace(config.model, modalities=modalities))
    config.test.streams = True
    several = len(modalities) > 1
    results = run_test(model_of(config), [PairSet("few", test_set(config).pairs[:2])], config, tmp_path)
    assert list(results) == ["final", *(["fusion"] if several else []), *modalities]
    ((rows, titles),) = sheets
    streams = ["fusion", *(f"{name} alone" for name in modalities)] if several else []
    assert list(titles) == [*modalities, "truth", "final", *streams]
    assert all(image is not None for _, images in rows for image in images)
    assert (tmp_path / "contact_sheet.png").is_file()


def not_finite(config: Config, tmp_path: Path) -> tuple[str, list[str]]:
    """What testing and validating say, with a model that gives no number for one image, and what was written."""
    config.test.contact_sheet = 0
    model, pairs = model_of(config), test_set(config)
    forward = model.forward
    image = PairDataset([pairs], config.model.image_size, config.data, augment=False, seed=0)[3]["rgb"]

    def spoilt(images: Mapping[str, torch.Tensor], given: Sequence[str] = ()) -> Prediction:
        prediction = forward(images)
        for i, other in enumerate(images["rgb"]):
            if torch.equal(other, image):
                prediction.streams["thermal"][i, 0, 5, 5] = float("inf")
        return prediction

    model.forward = spoilt  # type: ignore[assignment,method-assign]
    said = []
    for work in (lambda: run_test(model, [pairs], config, tmp_path), lambda: validate(model, [pairs], config)):
        with pytest.raises(Failure) as caught:
            work()
        said.append(str(caught.value))
    assert said[0] == said[1]
    return said[0], files_in(tmp_path)


def score_on_ranks(config: Config, tmp_path: Path) -> tuple[dict[str, float], dict[str, float], str, list[str]]:
    """The scores of all images, those of a single one, and what `not_finite` gives."""
    model, pairs = model_of(config), test_set(config)
    alone = PairSet("alone", pairs.pairs[:1])
    scores, single = (evaluate(model, found, config)[FINAL].result() for found in (pairs, alone))
    return scores, single, *not_finite(config, tmp_path)


def test_ranks_score_each_image_once_and_name_what_is_not_finite(config: Config, tmp_path: Path) -> None:
    here = evaluate(model_of(config), test_set(config), config)[FINAL].result()
    for scores, single, said, written in run_ranks(score_on_ranks, 2, config, tmp_path / "out"):
        assert scores == pytest.approx(here, abs=1e-3) and scores["images"] == 12
        assert single["images"] == 1  # of more ranks than images one has nothing to do
        assert "RGB/003.png: its prediction is not finite" in said and "\n" not in said
        assert written == []


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


def logit(saliency: np.ndarray) -> np.ndarray:
    return np.log(saliency / (1 - saliency)).astype(np.float32)


def test_grey_maps() -> None:
    logits = logit(np.linspace(0.2, 0.6, 16).reshape(4, 4))
    plain = TestConfig(normalize_maps=False)
    for resize in ("logits", "saliency"):
        settings = TestConfig(resize=resize)
        assert to_grey(logits, (8, 6), settings).shape == (8, 6)
        assert (to_grey(logits, (4, 4), settings).min(), to_grey(logits, (4, 4), settings).max()) == (0, 255)
        assert (to_grey(logit(np.full((4, 4), 0.4)), (9, 4), settings) == 102).all()
    assert (to_grey(logits, (4, 4), plain).min(), to_grey(logits, (4, 4), plain).max()) == (51, 153)
    assert to_grey(np.array([[-200.0, 200.0]], np.float32), (1, 2), plain).tolist() == [[0, 255]]


def test_logits_are_resized_before_the_sigmoid_unless_asked_otherwise() -> None:
    """As PyTorch does it; halfway between the logits 0 and 4 the saliency is .88, not .74."""
    logits = np.array([[0.0, 4.0]], np.float32)
    tensor, size = torch.from_numpy(logits)[None, None], {"size": (1, 3), "mode": "bilinear", "align_corners": False}
    expected = {
        "logits": F.interpolate(tensor, **size).sigmoid(),  # type: ignore[arg-type]
        "saliency": F.interpolate(tensor.sigmoid(), **size),  # type: ignore[arg-type]
    }
    for resize, saliency in expected.items():
        settings = TestConfig(normalize_maps=False, resize=resize)  # type: ignore[arg-type]
        assert to_grey(logits, (1, 3), settings).tolist() == (saliency[0, 0] * 255).round().tolist()
