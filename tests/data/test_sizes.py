"""Pairs whose images differ in size (`data.sizes`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samsod.config import Config
from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig, ModalityConfig
from samsod.data import transforms
from samsod.data.augment import Augmentation, Part
from samsod.data.checking.check import check_set, notes_on
from samsod.data.dataset import PairDataset, SampleKey
from samsod.data.decoding.images import cv2, read_rgb
from samsod.data.decoding.modality import read_modality
from samsod.data.pair_images import Images, augmented, cut_out, resized
from samsod.data.selection import scored_sets
from samsod.data.sources.catalog import find_set, look_up
from tests.conftest import RGBT
from tests.data.test_dataset import same

Write = Callable[..., Path]
MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
EVERYTHING = AugmentConfig(flip=True, crop=0.5, rotate=20, modality_dropout=0.3)
SPOTS = {"rgb": ModalityConfig(over_exposure=0.5), "thermal": ModalityConfig(crossover=0.5)}


def dataset(root: Path, size: int = 64, family: str = "folders", **data: Any) -> PairDataset:
    found = find_set(DatasetConfig(family=family, root=str(root)), "", RGBT)
    return PairDataset([found], size, DataConfig(**{"sizes": "any", **data}), "augment" in data, 3)


@pytest.fixture
def unequal(tmp_path: Path, make_set: MakeSet, write_image: Write) -> Path:
    """Three pairs of 200x150; the thermal images are 90x110, 64x64 and as large."""
    root = make_set(tmp_path / "set", height=150, width=200)
    rng = np.random.default_rng(1)
    for stem, shape in (("a", (110, 90)), ("b", (64, 64))):
        write_image(root / "T" / f"{stem}.png", rng.integers(0, 256, shape, np.uint8))
    return root


@pytest.mark.parametrize("extra", [{}, {"augment": EVERYTHING, "modalities": SPOTS}])
def test_equal_images_are_as_ever(tmp_path: Path, make_set: MakeSet, extra: dict[str, Any]) -> None:
    root = make_set(tmp_path, height=256, width=384)  # JPEGs that are reduced while they are decoded
    equal, any_size = dataset(root, sizes="equal", **extra), dataset(root, **extra)
    for key in (SampleKey(epoch, index) for epoch in range(4) for index in range(3)):
        assert same(equal[key], any_size[key])


def test_each_image_is_resized_on_its_own(unequal: Path) -> None:
    pairs = dataset(unequal, 96)
    for index, pair in enumerate(pairs.pairs):
        sample = pairs[index]
        (rgb,) = transforms.resize([read_rgb(pair.images["rgb"])], 96)
        (thermal,) = transforms.resize([read_modality(pair.images["thermal"], ModalityConfig())], 96)
        assert torch.equal(sample["rgb"], transforms.to_tensor(rgb, True))
        assert torch.equal(sample["thermal"], transforms.to_tensor(thermal, False))
        assert sample["ground_truth"].shape == (1, 96, 96)


def test_each_jpeg_is_reduced_by_what_its_own_size_allows(
    tmp_path: Path, make_set: MakeSet, write_image: Write
) -> None:
    root = make_set(tmp_path, "a", height=512, width=640)  # by 8
    (root / "T" / "a.png").unlink()
    image = cv2.resize(np.random.default_rng(2).integers(0, 256, (8, 10), np.uint8), (160, 128))
    path = write_image(root / "T" / "a.jpg", image)  # by 2, and by 8 no longer fit for 64 pixels
    (thermal,) = transforms.resize([read_modality(path, ModalityConfig(), 2)], 64)
    assert torch.equal(dataset(root)[0]["thermal"], transforms.to_tensor(thermal, False))


@pytest.mark.parametrize("part", [Part(), Part(0.1, 0.3, 0.7, 0.6)])
@pytest.mark.parametrize("degrees", [0, 15])
def test_geometry_is_the_references(part: Part, degrees: float) -> None:
    def view(height: int, width: int) -> np.ndarray:
        rows, columns = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None]
        return (127.5 + 120 * np.sin(7 * rows + 1) * np.sin(9 * columns + 0.5)).astype(np.uint8)

    large = view(120, 200)
    images = {"rgb": np.dstack([large, 255 - large, large]), "thermal": np.dstack([view(90, 77)] * 3)}
    scene = Images(images, {"ground_truth": np.where(large > 127, 255, 0).astype(np.uint8)}, 200 / 120)
    cut = cut_out(scene, part)
    assert cut.aspect == cut.reference.shape[1] / cut.reference.shape[0]
    done = augmented(resized(cut, 128), Augmentation(flip=True, degrees=degrees))
    rgb, thermal = done.images.values()
    inside = rgb[..., 1] > 0
    sure = inside & (np.abs(rgb[..., 0].astype(int) - 127) > 15)
    assert sure.mean() > 0.4
    for image in (rgb[..., 0], thermal):
        assert ((image > 127) == (done.maps["ground_truth"] > 127))[sure].mean() > 0.99
    assert np.abs(rgb[..., 0].astype(int) - thermal)[cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0].max() < 12


@pytest.mark.parametrize("size", [64, 16])
def test_a_mask_has_the_references_size(unequal: Path, write_image: Write, one_line: OneLine, size: int) -> None:
    path = write_image(unequal / "GT" / "a.png", np.zeros((110, 90), np.uint8))  # the thermal image's
    message = one_line(dataset(unequal, size).__getitem__, 0)
    assert message == f"{path} has 90x110 pixels, but {unequal / 'RGB' / 'a.jpg'} has 200x150"
    message = one_line(dataset(unequal, size, sizes="equal").__getitem__, 1)
    differs = f"{unequal / 'T' / 'b.png'} has 64x64 pixels, but {unequal / 'RGB' / 'b.jpg'} has 200x150"
    assert message == f"{differs} (data.sizes=any resizes each on its own)"


def test_without_the_reference_its_mask_still_counts(config: Config, unequal: Path, one_line: OneLine) -> None:
    config.data.test = [DatasetConfig(name="unequal", root=str(unequal))]
    for bad in (False, True):
        config.data = replace(config.data, sizes="any", skip_bad=bad)
        (thermal,) = scored_sets(config.data.test, config, "data.test", ["thermal"]).sets
        sample = PairDataset([thermal], 64, config.data, False, 0)[0]
        assert len(thermal.pairs) == 3 and sample["thermal"].shape == sample["ground_truth"].expand(3, 64, 64).shape
    config.data = replace(config.data, sizes="equal", skip_bad=False)
    (thermal,) = scored_sets(config.data.test, config, "data.test", ["thermal"]).sets
    assert "has 200x150 pixels, but" in one_line(PairDataset([thermal], 64, config.data, False, 0).__getitem__, 0)


def test_samples_come_from_the_cache_alike_and_only_under_the_same_setting(unequal: Path, tmp_path: Path) -> None:
    turned = replace(EVERYTHING, crop=1.0)
    plain = dataset(unequal, augment=turned, modalities=SPOTS)
    cached = dataset(unequal, augment=turned, modalities=SPOTS, cache="disk", cache_dir=str(tmp_path / "cache"))
    cached.use_cache()
    for key in [SampleKey(epoch, index) for epoch in range(3) for index in range(3)]:
        assert same(plain[key], cached[key])
    strict = dataset(unequal, sizes="equal", cache="disk", cache_dir=str(tmp_path / "cache"))
    strict.use_cache()
    with pytest.raises(ValueError, match="has 90x110 pixels, but"):
        strict[0]


def test_scribbles(unequal: Path, write_image: Write) -> None:
    strokes = np.zeros((2, 150, 200), np.uint8)
    strokes[:, 70:80, 20:150] = 255
    strokes[1, 20:25] = 255
    for stem in "abc":
        write_image(unequal / "GT" / f"{stem}.png", strokes[0])
        write_image(unequal / "mask" / f"{stem}.png", strokes[1])
    sample = dataset(unequal, family="scribbles")[0]
    assert 0 < sample["ground_truth"].sum() < sample["labelled"].sum() < 64 * 64 and sample["thermal"].max() > 0.5


def test_a_check_notes_them_or_finds_fault(unequal: Path, write_image: Write) -> None:
    found = look_up(DatasetConfig(root=str(unequal)), "", RGBT)

    def check(**data: Any) -> tuple[list[str], list[str]]:
        checked = check_set(found, DataConfig(**data), 1, lambda facts, total, label: facts)
        return checked.faults, list(notes_on(checked))

    faults, notes = check()
    assert [fault.partition(" has ")[0] for fault in faults] == [str(unequal / "T" / f"{stem}.png") for stem in "ab"]
    assert notes == []
    faults, notes = check(sizes="any")
    said = "pairs of images that differ in size, 2 of them in proportions too, each resized on its own (2): a, b"
    assert faults == [] and notes == [said]
    for stem, shape in (("a", (75, 100)), ("b", (300, 400)), ("c", (113, 150))):
        write_image(unequal / "T" / f"{stem}.png", np.zeros(shape, np.uint8))
    assert check(sizes="any")[1] == ["pairs of images that differ in size, each resized on its own (3): a, b, c"]
    write_image(unequal / "GT" / "b.png", np.zeros((64, 64), np.uint8))
    faults, notes = check(sizes="any")
    assert faults == [f"{unequal / 'GT' / 'b.png'} has 64x64 pixels, but {unequal / 'RGB' / 'b.jpg'} has 200x150"]
    assert notes[0] == "pairs of images that differ in size, each resized on its own (2): a, c"
