"""Samples of sets with scribbles, alone and mixed with sets of full masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig
from samsod.data import transforms
from samsod.data.dataset import PairDataset, SampleKey
from samsod.data.loader import eval_loader
from samsod.data.sources.catalog import PairSet, find_set
from tests.conftest import RGBT

Write = Callable[..., Path]
MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
HEIGHT, WIDTH = 48, 64


@pytest.fixture
def scribbled(tmp_path: Path, make_set: MakeSet, write_image: Write) -> PairSet:
    """Three pairs with a stroke of one pixel on the foreground, down, and one on the background, across."""
    root = make_set(tmp_path / "scribbled", height=HEIGHT, width=WIDTH)
    for stem in "abc":
        foreground, labelled = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        foreground[8:40, 21] = labelled[8:40, 21] = labelled[45, 5:60] = 255
        write_image(root / "foreground" / f"{stem}.png", foreground)
        write_image(root / "labelled" / f"{stem}.png", labelled)
    return find_set(DatasetConfig("scribbles", root=str(root), ground_truth="foreground"), "", RGBT)


@pytest.fixture
def masked(tmp_path: Path, make_set: MakeSet) -> PairSet:
    """Two pairs with full masks."""
    return find_set(DatasetConfig(root=str(make_set(tmp_path / "masked", ("x", "y")))), "", RGBT)


def covered(mask: np.ndarray, size: int) -> np.ndarray:
    """The area of each target pixel that the mask covers, by going through all source pixels."""
    area = np.zeros((size, size))
    down, across = mask.shape[0] / size, mask.shape[1] / size
    for y, x in np.argwhere(mask):
        for v in range(size):
            for u in range(size):
                overlap_y = min(y + 1, (v + 1) * down) - max(y, v * down)
                overlap_x = min(x + 1, (u + 1) * across) - max(x, u * across)
                area[v, u] += max(overlap_y, 0) * max(overlap_x, 0)
    return area


@pytest.mark.parametrize(("height", "width", "size"), [(24, 30, 10), (23, 31, 9), (12, 8, 4), (10, 10, 10)])
def test_labels_keep_every_stroke_when_they_shrink(height: int, width: int, size: int) -> None:
    rng = np.random.default_rng(0)
    labelled = rng.random((height, width)) > 0.93
    foreground = labelled & (rng.random((height, width)) > 0.5)
    truth, known = transforms.resize_scribbles(foreground.astype(np.uint8) * 255, labelled.astype(np.uint8) * 255, size)
    all_of_it, stroke = covered(labelled, size), covered(foreground, size)
    assert set(np.unique(known)) <= {0, 255}
    # OpenCV leaves overlaps out that are thinner than a thousandth of a pixel.
    assert ((known > 0) == (all_of_it > 1e-3)).all()
    clear = np.abs(stroke - all_of_it / 2) > 1e-3
    assert ((truth > 0) == ((stroke >= all_of_it / 2) & (known > 0)))[clear | (known == 0)].all()


def test_labels_that_grow_stay_where_they_are() -> None:
    labelled = np.zeros((4, 4), np.uint8)
    labelled[1, 2] = labelled[3, 0] = 255
    foreground = np.zeros_like(labelled)
    foreground[1, 2] = 255
    truth, known = transforms.resize_scribbles(foreground, labelled, 12)
    assert (known == labelled.repeat(3, 0).repeat(3, 1)).all() and (truth == foreground.repeat(3, 0).repeat(3, 1)).all()


def test_half_of_what_is_labelled_is_enough_for_foreground() -> None:
    labelled = np.array([[255, 255, 255, 0], [0, 0, 0, 0]], np.uint8)
    foreground = np.array([[255, 0, 0, 255], [0, 0, 0, 0]], np.uint8)  # the last one is not labelled
    truth, known = transforms.resize_scribbles(foreground.repeat(2, 0), labelled.repeat(2, 0), 2)
    assert known.tolist() == [[255, 255], [0, 0]] and truth.tolist() == [[255, 0], [0, 0]]


def test_a_sample_says_what_is_labelled(scribbled: PairSet) -> None:
    sample = PairDataset([scribbled], 16, DataConfig(), augment=False, seed=0)[0]
    known, truth = sample["labelled"], sample["ground_truth"]
    assert known.dtype == torch.float32 and known.shape == truth.shape == (1, 16, 16)
    assert known.unique().tolist() == truth.unique().tolist() == [0, 1]
    expected = torch.zeros(16, 16)
    expected[2:14, 5] = 1
    assert torch.equal(truth[0], expected)
    expected[15, 1:15] = 1
    assert torch.equal(known[0], expected)


def test_sets_with_masks_are_mixed_in_as_labelled_everywhere(scribbled: PairSet, masked: PairSet) -> None:
    alone = PairDataset([masked], 16, DataConfig(), augment=False, seed=0)
    mixed = PairDataset([scribbled, masked], 16, DataConfig(), augment=False, seed=0)
    assert "labelled" not in alone[0] and "labelled" in mixed.maps
    assert mixed[3]["labelled"].min() == 1 and torch.equal(mixed[3]["ground_truth"], alone[0]["ground_truth"])
    batch = next(iter(eval_loader(mixed, 5, 0, 1, workers=0)))
    assert batch["labelled"].shape == (5, 1, 16, 16) and (batch["labelled"].mean((1, 2, 3)) < 1).tolist() == [
        *[True] * 3,
        *[False] * 2,
    ]


def test_strokes_are_flipped_with_the_image(scribbled: PairSet) -> None:
    plain = PairDataset([scribbled], 16, DataConfig(), augment=True, seed=0)
    flipping = PairDataset([scribbled], 16, DataConfig(augment=AugmentConfig(flip=True)), augment=True, seed=0)
    flips = 0
    for epoch in range(10):
        one, two = plain[SampleKey(epoch, 0)], flipping[SampleKey(epoch, 0)]
        is_flipped = not torch.equal(one["rgb"], two["rgb"])
        for key in ("rgb", "ground_truth", "labelled"):
            assert torch.equal(one[key].flip(-1) if is_flipped else one[key], two[key])
        flips += is_flipped
    assert 2 <= flips <= 8


def test_folders_that_were_swapped_are_named(scribbled: PairSet, one_line: OneLine) -> None:
    root = scribbled.pairs[0].reference.parents[1]
    config = DatasetConfig("scribbles", root=str(root), ground_truth="labelled", labelled="foreground")
    message = one_line(PairDataset([find_set(config, "", RGBT)], 16, DataConfig(), False, 0).__getitem__, 0)
    assert message.startswith(f"{root / 'labelled' / 'a.png'}: most of its foreground") and "swapped?" in message


def test_a_labelled_region_of_another_size_is_named(scribbled: PairSet, write_image: Write, one_line: OneLine) -> None:
    path = scribbled.pairs[1].labelled
    assert path is not None
    write_image(path, np.zeros((8, 8), np.uint8))
    message = one_line(PairDataset([scribbled], 16, DataConfig(), False, 0).__getitem__, 1)
    assert message.startswith(f"{path} has 8x8 pixels")


def test_strokes_are_turned_without_being_blended(scribbled: PairSet, masked: PairSet) -> None:
    turning = DataConfig(augment=AugmentConfig(rotate=30, crop=0.7))
    mixed = PairDataset([scribbled, masked], 32, turning, augment=True, seed=0)
    shares = []
    for epoch in range(5):
        strokes, full = mixed[SampleKey(epoch, 0)], mixed[SampleKey(epoch, 3)]
        assert strokes["labelled"].unique().tolist() == strokes["ground_truth"].unique().tolist() == [0, 1]
        assert (strokes["ground_truth"] <= strokes["labelled"]).all()
        shares.append(full["labelled"].mean().item())
    assert 0.5 < min(shares) < 0.95  # what turned in from outside is not known


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_strokes_are_cached(tmp_path: Path, scribbled: PairSet, masked: PairSet, where: str) -> None:
    plain = PairDataset([scribbled, masked], 16, DataConfig(), augment=False, seed=0)
    data = DataConfig(cache=where, cache_dir=str(tmp_path / "cache"))  # type: ignore[arg-type]
    cached = PairDataset([scribbled, masked], 16, data, augment=False, seed=0)
    cached.use_cache()
    for index in (0, 3, 0, 3):
        one, two = plain[index], cached[index]
        assert one.keys() == two.keys() and all(
            torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one
        )
