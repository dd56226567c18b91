from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig, ModalityConfig
from samsod.data.dataset import PairDataset, SampleKey
from samsod.data.decoding.images import read_rgb
from samsod.data.decoding.modality import read_modality
from samsod.data.sources.catalog import PairSet, find_set
from tests.conftest import RGBT

Write = Callable[..., Path]
MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
IMAGENET = np.array([0.485, 0.456, 0.406])[:, None, None], np.array([0.229, 0.224, 0.225])[:, None, None]


def open_set(root: Path, name: str = "") -> PairSet:
    return find_set(DatasetConfig(root=str(root), name=name), "", RGBT)


def dataset(root: Path, augment: bool = False, seed: int = 0, size: int = 16, **data: object) -> PairDataset:
    return PairDataset([open_set(root)], size, DataConfig(**data), augment, seed)  # type: ignore[arg-type]


def same(first: dict[str, object], second: dict[str, object]) -> bool:
    return all(torch.equal(torch.as_tensor(first[key]), torch.as_tensor(second[key])) for key in first)


def test_a_sample_is_the_files_content(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path, height=16, width=16)
    sample = dataset(root)[1]
    assert sample["index"] == 1
    rgb = (read_rgb(root / "RGB" / "b.jpg").transpose(2, 0, 1) / 255 - IMAGENET[0]) / IMAGENET[1]
    thermal = read_modality(root / "T" / "b.png", ModalityConfig()).transpose(2, 0, 1) / 255
    assert np.allclose(sample["rgb"].numpy(), rgb, atol=1e-5)
    assert np.allclose(sample["thermal"].numpy(), thermal, atol=1e-6)
    truth = sample["ground_truth"]
    assert truth.shape == (1, 16, 16) and truth.dtype == torch.float32
    assert truth.unique().tolist() == [0, 1] and truth.sum() == 8 * 10
    standard = dataset(root, modalities={"thermal": ModalityConfig(normalize=True)})[1]["thermal"].numpy()
    assert np.allclose(standard, (thermal - IMAGENET[0]) / IMAGENET[1], atol=1e-5)


def test_truth_is_soft_where_pixels_are_averaged(tmp_path: Path, make_set: MakeSet) -> None:
    truth = dataset(make_set(tmp_path, height=16, width=24), size=5)[0]["ground_truth"]
    assert truth.shape == (1, 5, 5) and 0 < truth[truth > 0].min() < 1 == truth.max()
    assert abs(float(truth.mean()) - 8 * 12 / (16 * 24)) < 0.01


def test_several_sets_are_numbered_through(tmp_path: Path, make_set: MakeSet) -> None:
    sets = [
        open_set(make_set(tmp_path / "one"), "one"),
        open_set(make_set(tmp_path / "two", ("x", "y")), "two"),
    ]
    pairs = PairDataset(sets, 8, DataConfig(), False, 0)
    assert len(pairs) == 5
    assert [t.stem for t in pairs.pairs] == ["a", "b", "c", "x", "y"]
    assert [pairs[index]["index"] for index in range(5)] == list(range(5))


def test_augmentation_depends_on_seed_epoch_and_index_alone(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path)
    pairs = dataset(root, augment=True)
    first = pairs[SampleKey(3, 1)]
    np.random.seed(99)
    torch.manual_seed(99)
    pairs[SampleKey(0, 0)]
    assert same(first, pairs[SampleKey(3, 1)]) and same(first, dataset(root, augment=True)[SampleKey(3, 1)])
    assert same(pairs[1], pairs[SampleKey(0, 1)])
    for other in (pairs[SampleKey(4, 1)], dataset(root, augment=True, seed=1)[SampleKey(3, 1)]):
        assert not torch.equal(first["rgb"], other["rgb"])
        assert not torch.equal(first["thermal"], other["thermal"])
        assert torch.equal(first["ground_truth"], other["ground_truth"])


def test_the_modalities_are_augmented_apart(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path, folders=("RGB", "T", "GT"), endings=(".png", ".png", ".png"))
    for stem in "abc":
        (root / "RGB" / f"{stem}.png").write_bytes((root / "T" / f"{stem}.png").read_bytes())
    normal = dataset(root, modalities={"thermal": ModalityConfig(normalize=True)})[0]
    assert torch.equal(normal["rgb"], normal["thermal"])
    changed = dataset(root, augment=True, modalities={"thermal": ModalityConfig(normalize=True)})[0]
    assert not torch.equal(changed["rgb"], changed["thermal"])


def test_augmentation_can_be_switched_off_twice(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path)
    plain = dataset(root)[0]
    assert not same(plain, dataset(root, augment=True)[0])
    off = PairDataset([open_set(root)], 16, DataConfig(augment=AugmentConfig(enabled=False)), True, 0)
    assert same(plain, off[0]) and same(plain, dataset(root, augment=False)[SampleKey(5, 0)])


def test_flip_is_joint_and_leaves_the_factors(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path)
    plain = dataset(root, augment=True)
    flipping = PairDataset([open_set(root)], 16, DataConfig(augment=AugmentConfig(flip=True)), True, 0)
    flips = 0
    for epoch in range(40):
        one, two = plain[SampleKey(epoch, 0)], flipping[SampleKey(epoch, 0)]
        mirrored = {key: one[key].flip(-1) for key in ("rgb", "thermal", "ground_truth")}
        is_flipped = torch.equal(mirrored["rgb"], two["rgb"])
        expected = mirrored if is_flipped else one
        assert all(torch.equal(expected[key], two[key]) for key in mirrored)
        flips += is_flipped
    assert 10 <= flips <= 30


def test_thermal_scale_reaches_the_reader(tmp_path: Path, make_set: MakeSet, write_image: Write) -> None:
    root = make_set(tmp_path, height=8, width=8)
    write_image(root / "T" / "a.png", np.arange(64, dtype=np.uint16).reshape(8, 8) * 100)
    assert dataset(root, size=8)[0]["thermal"].max() == 1
    assert dataset(root, size=8, modalities={"thermal": ModalityConfig(scale="fixed")})[0][
        "thermal"
    ].max() == pytest.approx(25 / 255)


def test_the_guide_is_the_reference_in_plain_colours(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path, height=16, width=16)
    assert "guide" not in dataset(root)[0]
    data = DataConfig(augment=AugmentConfig(flip=True))
    guided = PairDataset([open_set(root)], 16, data, True, 0, guide=True)
    for epoch in range(4):
        sample = guided[SampleKey(epoch, 0)]
        colours = sample["rgb"].numpy() * IMAGENET[1] + IMAGENET[0]
        assert sample["guide"].dtype == torch.float32 and np.allclose(sample["guide"].numpy(), colours, atol=1e-6)
    turned = find_set(DatasetConfig(root=str(root)), "", ["thermal", "rgb"])
    sample = PairDataset([turned], 16, DataConfig(), False, 0, guide=True)[0]
    assert list(sample) == ["thermal", "rgb", "ground_truth", "guide", "index"]
    assert torch.equal(sample["guide"], sample["thermal"])


def test_names_decide_what_is_usual_and_settings_win(tmp_path: Path, make_set: MakeSet, write_image: Write) -> None:
    wide = np.random.default_rng(0).integers(300, 40000, (8, 8, 3)).astype(np.uint16)
    make_set(tmp_path, "a", height=8, width=8)
    for folder in ("RGB", "Polar"):
        (tmp_path / folder / "a.jpg").unlink(missing_ok=True)
        write_image(tmp_path / folder / "a.png", wide)
    pairs = [find_set(DatasetConfig(root=str(tmp_path)), "", ["rgb", "polar"])]
    usual = PairDataset(pairs, 8, DataConfig(), False, 0)[0]
    cut = torch.from_numpy((wide >> 8).transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    assert np.allclose(usual["rgb"].numpy(), (cut.numpy() - IMAGENET[0]) / IMAGENET[1], atol=1e-5)
    assert (usual["polar"].min(), usual["polar"].max()) == (0, 1)  # stretched and scaled only
    settings = {"rgb": ModalityConfig(normalize=False), "polar": ModalityConfig(scale="cut")}
    own = PairDataset(pairs, 8, DataConfig(modalities=settings), False, 0)[0]
    assert all(torch.allclose(own[name], cut) for name in settings)


@pytest.mark.parametrize(("folder", "file"), [("T", "a.png"), ("GT", "a.png")])
def test_sizes_that_differ(
    tmp_path: Path, make_set: MakeSet, write_image: Write, one_line: OneLine, folder: str, file: str
) -> None:
    root = make_set(tmp_path, height=16, width=24)
    path = write_image(root / folder / file, np.zeros((24, 16), np.uint8))
    message = one_line(dataset(root).__getitem__, 0)
    assert message.startswith(f"{path} has 16x24 pixels, but {root / 'RGB' / 'a.jpg'} has 24x16")
    assert ("data.sizes=any" in message) == (folder == "T")


def test_a_file_that_cannot_be_used(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path)
    (root / "T" / "b.png").write_bytes(b"")
    assert one_line(dataset(root).__getitem__, 1) == f"{root / 'T' / 'b.png'}: the file is empty"


def test_real_depth(shared_data: Path) -> None:
    root = str(shared_data / "crackvid")
    pairs = find_set(DatasetConfig(root=root, list_file="val.txt"), "", ["rgb", "depth"])
    sample = PairDataset([pairs], 64, DataConfig(), True, 0)[SampleKey(1, 59)]
    assert sample["depth"].shape == (3, 64, 64) and 0 <= sample["depth"].min() <= sample["depth"].max() <= 1
    assert 0 < sample["ground_truth"].mean() < 0.5


@pytest.mark.parametrize("shape", [(5000, 1), (1, 5000), (1, 1)])
def test_images_of_extreme_shapes(
    tmp_path: Path, make_set: MakeSet, write_image: Write, shape: tuple[int, int]
) -> None:
    root = make_set(tmp_path, "a")
    truth = np.arange(shape[0] * shape[1]).reshape(shape) % 2 * 255
    for path, image in ((root / "RGB/a.jpg", truth), (root / "T/a.png", truth), (root / "GT/a.png", truth)):
        write_image(path, image.astype(np.uint8))
    changes = AugmentConfig(flip=True, rotate=20, crop=0.5)
    pairs = PairDataset([open_set(root)], 16, DataConfig(augment=changes), True, 0)
    for sample in (pairs[SampleKey(epoch, 0)] for epoch in range(4)):
        assert all(
            sample[name].shape[1:] == (16, 16) and sample[name].isfinite().all() for name in (*RGBT, "ground_truth")
        )
