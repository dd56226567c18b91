from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig, ModalityConfig
from samsod.data import transforms
from samsod.data.augment import Augmentation, Part, Spot, batch_sizes, cross_over, draw, over_expose
from samsod.data.dataset import PairDataset, SampleKey
from samsod.data.loader import TrainBatches, train_loader
from samsod.data.pair_images import Images, augmented, cut_out, read_images, resized
from samsod.data.sources.catalog import find_set
from samsod.data.transforms import Factors

MakeSet = Callable[..., Path]
ALL = AugmentConfig(
    flip=True,
    crop=0.6,
    rotate=25,
    modality_dropout=0.3,
    multiscale=[1, 1.5, 2],
)
SPOTS = {"rgb": ModalityConfig(over_exposure=0.4), "thermal": ModalityConfig(crossover=0.4)}
PLAIN = {"rgb": ModalityConfig(), "thermal": ModalityConfig()}
AS_IT_IS = Augmentation()


def dataset(
    root: Path, config: AugmentConfig, size: int = 64, modalities: dict[str, ModalityConfig] = PLAIN
) -> PairDataset:
    data = DataConfig(augment=config, modalities=modalities)
    return PairDataset([find_set(DatasetConfig(root=str(root)), "", list(modalities))], size, data, True, 3)


def draws(
    config: AugmentConfig, count: int = 2000, modalities: dict[str, ModalityConfig] = SPOTS
) -> list[Augmentation]:
    return [draw(config, modalities, np.random.default_rng([0, 1, index])) for index in range(count)]


def test_what_is_off_changes_nothing(tmp_path: Path, make_set: MakeSet) -> None:
    """A literal version of reading, resizing and the four factors, with the generator asked for nothing else."""
    root = make_set(tmp_path, height=50, width=70)
    pairs = dataset(root, AugmentConfig())
    for key in (SampleKey(0, 0), SampleKey(5, 2)):
        rng = np.random.default_rng([3, key.epoch, key.index])
        images = read_images(pairs.pairs[key.index], pairs.modalities)
        rgb, thermal, truth = transforms.resize(images.all(), 64)
        ranges = ((0.5, 1.5), (0.5, 1.5), (0, 2), (0, 3))
        rgb = transforms.photometric(rgb, Factors(*(rng.uniform(*bounds) for bounds in ranges)))
        thermal = transforms.photometric(thermal, Factors(*(rng.uniform(*bounds) for bounds in ranges)))
        sample = pairs[key]
        assert torch.equal(sample["rgb"], transforms.to_tensor(rgb, True))
        assert torch.equal(sample["thermal"], transforms.to_tensor(thermal, False))
        assert torch.equal(sample["ground_truth"], torch.from_numpy(truth[None].astype(np.float32) / np.float32(255)))


def test_photometric_changes_at_full_size(tmp_path: Path, make_set: MakeSet) -> None:
    """A literal version of the released code's order: the factors, then the resizing."""
    root = make_set(tmp_path, height=150, width=170)
    pairs = dataset(root, AugmentConfig(photometric="full_size"))
    rng = np.random.default_rng([3, 2, 1])
    images = read_images(pairs.pairs[1], pairs.modalities)
    ranges = ((0.5, 1.5), (0.5, 1.5), (0, 2), (0, 3))
    changed = [
        transforms.photometric(image, Factors(*(rng.uniform(*bounds) for bounds in ranges)))
        for image in images.images.values()
    ]
    rgb, thermal, truth = transforms.resize([*changed, images.maps["ground_truth"]], 64)
    sample = pairs[SampleKey(2, 1)]
    assert torch.equal(sample["rgb"], transforms.to_tensor(rgb, True))
    assert torch.equal(sample["thermal"], transforms.to_tensor(thermal, False))
    assert torch.equal(sample["ground_truth"], transforms.map_to_tensor(truth))
    resized_first = dataset(root, AugmentConfig())[SampleKey(2, 1)]
    assert not torch.equal(sample["rgb"], resized_first["rgb"])
    assert list(DataConfig(cache="memory", augment=AugmentConfig(photometric="full_size")).check())


def test_factors_in_steps() -> None:
    """Every tenth of a range, both ends too, each as likely."""
    config = AugmentConfig(steps=0.1)
    drawn = np.array([draw(config, PLAIN, np.random.default_rng([0, i])).factors["rgb"] for i in range(4000)])
    for factors, (low, high) in zip(drawn.T, ((5, 15), (5, 15), (0, 20), (0, 30)), strict=True):
        values, counts = np.unique(factors, return_counts=True)
        assert values.tolist() == [tenth / 10 for tenth in range(low, high + 1)]
        assert counts.min() > 0.6 * 4000 / len(values) and counts.max() < 1.5 * 4000 / len(values)
    uneven = draw(AugmentConfig(steps=0.3), PLAIN, np.random.default_rng(1)).factors["rgb"]
    assert uneven.brightness in (0.5, 0.8, 1.1, 1.4)


def test_switching_one_kind_on_leaves_the_others_draws() -> None:
    bright = {**SPOTS, "rgb": ModalityConfig(over_exposure=1)}
    one = draw(replace(ALL, modality_dropout=0), bright, np.random.default_rng(5))
    two = draw(replace(ALL, modality_dropout=1), {**SPOTS, "rgb": ModalityConfig()}, np.random.default_rng(5))
    assert list(one.over_exposure) == ["rgb"] and not two.over_exposure and not one.dropped and two.dropped
    assert replace(one, over_exposure={}, dropped="") == replace(two, over_exposure={}, dropped="")


def test_frequencies_and_ranges() -> None:
    drawn = draws(ALL)
    dropped = [each.dropped for each in drawn]
    assert abs(dropped.count("rgb") / len(drawn) - 0.15) < 0.02
    assert abs(dropped.count("thermal") / len(drawn) - 0.15) < 0.02
    assert abs(np.mean(["rgb" in each.over_exposure for each in drawn]) - 0.4) < 0.03
    assert abs(np.mean(["thermal" in each.crossover for each in drawn]) - 0.4) < 0.03
    assert abs(np.mean([each.flip for each in drawn]) - 0.5) < 0.03
    angles = np.array([each.degrees for each in drawn])
    assert -25 <= angles.min() < -24 and 24 < angles.max() <= 25
    parts = np.array([each.part for each in drawn])
    assert 0.6 <= parts[:, 2:].min() < 0.61 and parts[:, 2:].max() <= 1 and parts.min() >= 0
    assert (parts[:, :2] + parts[:, 2:]).max() <= 1 + 1e-9
    assert {each.dropped for each in draws(replace(ALL, modality_dropout=1), 50)} == {"rgb", "thermal"}


def test_nothing_is_drawn_when_off() -> None:
    for drawn in draws(AugmentConfig(), 50, PLAIN):
        assert drawn == replace(AS_IT_IS, factors=drawn.factors) and list(drawn.factors) == ["rgb", "thermal"]


def scene(height: int = 120, width: int = 200) -> Images:
    """Smooth images whose truth is a function of them: where RGB's red, and the thermal image, are above a half."""
    rows, columns = np.mgrid[:height, :width]
    wave = 127.5 + 120 * np.sin(rows / 17 + 1) * np.sin(columns / 23 + 0.5)
    plane = wave.astype(np.uint8)
    images = {"rgb": np.dstack([plane, 255 - plane, plane]), "thermal": np.dstack([plane] * 3)}
    return Images(images, {"ground_truth": np.where(wave > 127, 255, 0).astype(np.uint8)}, width / height)


@pytest.mark.parametrize("drawn", draws(replace(ALL, modality_dropout=0), 8))
def test_truth_follows_the_images(drawn: Augmentation) -> None:
    drawn = replace(AS_IT_IS, flip=drawn.flip, part=drawn.part, degrees=drawn.degrees)
    images = augmented(resized(cut_out(scene(), drawn.part), 128), drawn)
    truth = images.maps["ground_truth"]
    rgb, thermal = images.images.values()
    sure = np.abs(rgb[..., 0].astype(int) - 127) > 12
    sure &= rgb[..., 1] > 0  # not the black corners
    for image in (rgb[..., 0], thermal):
        assert ((image > 127) == (truth > 127))[sure].mean() > 0.995
    corners = rgb.max(axis=2) == 0
    assert truth[corners].max(initial=0) < 128
    assert sure.mean() > 0.4


def test_cut_out_is_the_part() -> None:
    images = cut_out(scene(), Part(0.25, 0.5, 0.5, 0.25))
    assert images.reference.shape == (60, 50, 3) and images.aspect == 50 / 60
    assert np.array_equal(images.reference, scene().reference[30:90, 100:150])
    assert np.array_equal(images.maps["ground_truth"], scene().maps["ground_truth"][30:90, 100:150])
    tiny = cut_out(scene(), Part(0.999, 0.999, 0.001, 0.001))
    assert tiny.reference.shape == (1, 1, 3)


@pytest.mark.parametrize("name", ["rgb", "thermal"])
def test_over_exposure_burns_out_a_spot_of_one_modality(name: str) -> None:
    images = resized(scene(), 96)
    spot = Spot(0.5, 0.25, 0.1, 0.1)
    after = augmented(images, replace(AS_IT_IS, over_exposure={name: spot})).images
    bright, before = after.pop(name), dict(images.images).pop(name)  # type: ignore[attr-defined]
    assert bright[48, 24].min() == 255 and (bright >= before).all()
    assert np.array_equal(bright[:, 70:], before[:, 70:]) and np.array_equal(bright, over_expose(before, spot))
    assert all(np.array_equal(image, images.images[other]) for other, image in after.items())


@pytest.mark.parametrize("channels", [1, 3])
def test_crossover_takes_the_contrast_of_a_region(channels: int) -> None:
    thermal = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)
    thermal = thermal if channels == 1 else np.repeat(thermal[..., None], 3, axis=2)
    before = thermal.copy()
    crossed = cross_over(thermal, Spot(0.5, 0.5, 0.1, 0.1))
    assert crossed[42:54, 42:54].std() < 1 and 110 < crossed[48, 48].mean() < 145
    assert np.array_equal(crossed[:5], thermal[:5]) and np.array_equal(thermal, before)


THREE = {name: ModalityConfig(over_exposure=0.5, crossover=0.5) for name in ("rgb", "depth", "thermal")}


@pytest.mark.parametrize("names", [("rgb",), ("rgb", "thermal"), ("thermal", "depth", "rgb")])
def test_a_dropped_modality_is_a_black_image_and_never_the_only_one(
    tmp_path: Path, make_set: MakeSet, names: tuple[str, ...]
) -> None:
    root = make_set(tmp_path)
    make_set(tmp_path, folders=("RGB", "D", "GT"))
    modalities = {name: ModalityConfig() for name in names}
    pairs = dataset(root, AugmentConfig(modality_dropout=1), modalities=modalities)
    black = np.zeros((64, 64, 3), np.uint8)
    blanked = [
        [torch.equal(pairs[SampleKey(epoch, 0)][name], transforms.to_tensor(black, name == "rgb")) for name in names]
        for epoch in range(20)
    ]
    assert [sum(row) for row in blanked] == [int(len(names) > 1)] * 20
    assert len(names) == 1 or all(any(row[index] for row in blanked) for index in range(len(names)))
    kept = dataset(root, AugmentConfig(), modalities=modalities)[SampleKey(0, 0)]
    assert torch.equal(kept["ground_truth"], pairs[SampleKey(0, 0)]["ground_truth"])


def test_three_modalities_are_augmented_apart_and_turned_together(tmp_path: Path, make_set: MakeSet) -> None:
    for folder in ("T", "D", "P"):
        make_set(tmp_path, folders=("RGB", folder, "GT"), endings=(".png",) * 3, height=40, width=60)
    same = {name: ModalityConfig(normalize=False) for name in ("rgb", "depth", "thermal", "p")}
    for stem in "abc":
        for folder in ("D", "T", "P"):
            (tmp_path / folder / f"{stem}.png").write_bytes((tmp_path / "RGB" / f"{stem}.png").read_bytes())
    apart = dataset(tmp_path, AugmentConfig(), modalities=same)[0]
    assert all(not torch.equal(apart[one], apart[two]) for one, two in itertools.combinations(same, 2))
    steady = AugmentConfig(**{name: [1, 1] for name in ("brightness", "contrast", "color", "sharpness")})  # type: ignore[arg-type]
    turned = dataset(tmp_path, replace(steady, flip=True, rotate=30, crop=0.5), modalities=same)
    for epoch in range(3):
        sample = turned[SampleKey(epoch, 1)]
        assert all(torch.equal(sample["rgb"], sample[name]) for name in same)
    drawn = draws(ALL, 400, THREE)
    assert {tuple(each.over_exposure) for each in drawn} >= {(), ("depth",), ("rgb", "depth", "thermal")}
    assert {each.dropped for each in drawn} == {"", *THREE}


def test_sizes_of_batches() -> None:
    assert batch_sizes(512, [0.75, 1, 1.25]) == (384, 512, 640)
    assert batch_sizes(352, [0.7, 1.3]) == (256, 448) and batch_sizes(128, [0.1]) == (64,)
    batches = iter(TrainBatches(10, 4, 0, 1, 0, sizes=(64, 96, 128)))
    sizes = []
    for _ in range(300):
        batch = next(batches)
        assert len({key.size for key in batch}) == 1
        sizes.append(batch[0].size)
    assert {size: 70 < sizes.count(size) < 130 for size in (64, 96, 128)} == dict.fromkeys((64, 96, 128), True)
    resumed = iter(TrainBatches(10, 4, 0, 1, 0, start_step=37, sizes=(64, 96, 128)))
    assert [next(resumed)[0].size for _ in range(50)] == sizes[37:87]
    plain = iter(TrainBatches(10, 4, 0, 1, 0))
    scaled = iter(TrainBatches(10, 4, 0, 1, 0, sizes=(64,)))
    for _ in range(10):
        assert [(k.epoch, k.index) for k in next(plain)] == [(k.epoch, k.index) for k in next(scaled)]


def test_workers_and_ranks_change_nothing(tmp_path: Path, make_set: MakeSet) -> None:
    pairs = dataset(make_set(tmp_path, "abcdefgh", height=90, width=120), ALL, modalities=SPOTS)
    steps = 6
    loader = train_loader(pairs, 4, 0, 1, workers=0, seed=1)
    alone = [next(loader) for _ in range(steps)]
    assert len({batch["rgb"].shape[-1] for batch in alone}) > 1
    assert {batch["rgb"].shape[-1] for batch in alone} <= {64, 96, 128}
    workers = train_loader(pairs, 4, 0, 1, workers=2, seed=1)
    ranks = [train_loader(pairs, 4, rank, 2, workers=0, seed=1) for rank in range(2)]
    for batch in alone:
        parts = [next(rank) for rank in ranks]
        together = {key: torch.cat([part[key] for part in parts]) for key in batch}
        for other in (next(workers), together):
            assert other.keys() == batch.keys() and all(torch.equal(other[key], batch[key]) for key in batch)
