"""Where data sets lie in the wild. Only names count here, so the files are empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.catalog import find_set
from samsod.data.sources.families import FAMILIES
from samsod.utils.errors import UserError
from tests.conftest import RGBT

OneLine = Callable[..., str]
RGBD = ("rgb", "depth")


def touch(root: Path, *folders: str, stems: str = "ab", endings: tuple[str, ...] = (".jpg", ".png", ".png")) -> Path:
    """Empty files of the same stems in the folders of RGB, second modality, truth (and labelled regions)."""
    for index, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            (root / folder / f"{stem}{endings[min(index, 2)]}").touch()
    return root


def stems(config: DatasetConfig, data_root: Path) -> str:
    modalities = FAMILIES[config.family].modalities or RGBT
    return "".join(pair.stem for pair in find_set(config, str(data_root), modalities).pairs)


ANY_CASE = {"thermal": "T", "depth": "Depth"}


DEPTH = ("RGB", "depth", "GT")
PARTS = [
    # family, and where its training and its test part lie
    ("vt5000", "VT5000/Train", "VT5000/Test"),
    ("vt5000", "VT5000/VT5000/Train", "VT5000/VT5000/Test"),
    ("vt5000", "TrainSet/VT5000", "TestSet/vt5000"),
    ("nju2k", "NJU2K_Train", "NJU2K_Test"),
    ("nju2k", "TrainDataset/NJU2K", "TestDataset/NJU2K"),
    ("nju2k", "RGBD_for_train/NJU2K", "RGBD_for_test/NJU2K"),
    ("nju2k", "NJUD/train", "NJU2K/test"),
    ("nju2k", "NJU2K/Training", "TestingSet/NJU2K"),
    ("nlpr", "train/NLPR", "test/nlpr"),
    ("nlpr", "nlpr_train", "TestDataset/NLPR"),
    ("neu_rsdds_aug", "NEU RSDDS-AUG/Train", "NEU RSDDS-AUG/Test"),
    ("neu_rsdds_aug", "NEU-RSDDS_AUG/train", "NEU-RSDDS_AUG/test"),
    ("neu_rsdds_aug", "rsdds-aug_train", "rsdds-aug_test"),
    ("neu_rsdds_aug", "TrainDataset/NEU_RSDDS_AUG", "TestDataset/NEU_RSDDS_AUG"),
    ("vdt2048", "VDT-2048/Train", "VDT-2048/Test"),
    ("vdt2048", "VDT/VDT_Train", "VDT/VDT_Test"),
    ("vdt2048", "VDT-2048 dataset/train", "VDT-2048 dataset/test"),
]


@pytest.mark.parametrize(("family", "train", "test"), PARTS)
def test_parts(tmp_path: Path, family: str, train: str, test: str) -> None:
    others = [ANY_CASE[name] for name in FAMILIES[family].modalities[1:]]
    touch(tmp_path / train, "Img", *others, "gt", stems="ab")
    touch(tmp_path / test, "rgb", *map(str.lower, others), "Mask", stems="xyz", endings=(".JPG", ".Bmp", ".TIFF"))
    (tmp_path / "VT821").mkdir()
    assert stems(DatasetConfig(family, "train"), tmp_path) == "ab"
    assert stems(DatasetConfig(family, "test"), tmp_path) == "xyz"


WHOLE = [
    ("vt821", "VT821"),
    ("vt821", "VT821/VT821"),
    ("vt1000", "vt1000/Test"),
    ("vt1000", "TestDataset/VT1000"),
    ("stere", "STEREO"),
    ("stere", "RGBD_for_test/STERE"),
    ("stere", "STERE1000"),
    ("stere", "test/Stereo-1000"),
    ("sip", "TestDataset/SIP"),
    ("sip", "SIP"),
    ("rgbts", "RGBT-S"),
    ("rgbts", "RGBT_S/Train"),
    ("rgbts", "Train/RGBT-S"),
    ("nju2k_nlpr", "NJU2K_NLPR"),
    ("nju2k_nlpr", "NJU2K+NLPR/Train"),
    ("nju2k_nlpr", "NJU2K-NLPR_train"),
    ("nju2k_nlpr", "TrainDataset/NJUD_NLPR"),
    ("nju2k_nlpr", "RGBD_for_train"),
    ("nju2k_nlpr", "TrainDataset"),
]


@pytest.mark.parametrize(("family", "place"), WHOLE)
def test_sets_without_parts(tmp_path: Path, family: str, place: str) -> None:
    others = [ANY_CASE[name] for name in FAMILIES[family].modalities[1:]]
    touch(tmp_path / place, "RGB", *others, "GT", *(["mask"] if FAMILIES[family].scribbles else []))
    assert stems(DatasetConfig(family), tmp_path) == "ab"
    assert stems(DatasetConfig(family, root=str(tmp_path / place)), Path("nowhere")) == "ab"


def test_every_family_is_in_these_tests() -> None:
    assert {name for name, *_ in (*PARTS, *WHOLE)} == {name for name, family in FAMILIES.items() if family.folders}


def test_the_counts_are_the_papers() -> None:
    counts = {name: dict(family.splits) for name, family in FAMILIES.items() if family.folders}
    assert counts == {
        "vt5000": {"train": 2500, "test": 2500},
        "vt1000": {"": 1000},
        "vt821": {"": 821},
        "rgbts": {"": 2500},
        "nju2k": {"train": 1485, "test": 500},
        "nlpr": {"train": 700, "test": 300},
        "nju2k_nlpr": {"": 1485 + 700},
        "stere": {"": 1000},
        "sip": {"": 929},
        "neu_rsdds_aug": {"train": 1500, "test": 362},
        "vdt2048": {"train": 1048, "test": 1000},
    }


def test_the_modalities_decide_what_is_looked_for(tmp_path: Path, one_line: OneLine) -> None:
    root = touch(tmp_path / "SIP", "RGB", "T", "GT")
    assert one_line(find_set, DatasetConfig("sip"), str(tmp_path), RGBD) == (
        f"sip: no folder of depth images in {root}; looked for depth, depths, D, dep, depth map, depth maps; "
        "there are: GT, RGB, T"
    )
    touch(root, "depth", endings=(".png",))
    (root / "depth" / "b.png").unlink()
    assert one_line(find_set, DatasetConfig("sip"), str(tmp_path), RGBD) == (
        f"{root / 'RGB' / 'b.jpg'}: no depth image of that stem in {root / 'depth'}"
    )
    assert one_line(find_set, DatasetConfig("sip"), str(tmp_path), RGBT) == (
        "sip: has no thermal images; it has rgb and depth: set model.modalities to these, or to one of them"
    )
    # What is not asked for is not looked at.
    assert [list(pair.images) for pair in find_set(DatasetConfig("sip"), str(tmp_path), ["rgb"]).pairs] == [["rgb"]] * 2


@pytest.mark.parametrize(
    "modalities",
    [("rgb", "depth", "thermal"), ("thermal", "rgb"), ("depth",), ("rgb", "polar"), ("rgb", "ultra_violet")],
)
def test_a_tree_with_any_modalities(tmp_path: Path, modalities: tuple[str, ...]) -> None:
    folders = {"rgb": "V", "depth": "D", "thermal": "T", "polar": "POLAR", "ultra_violet": "Ultra-Violet"}
    touch(tmp_path, *folders.values(), "GT")
    (pair, _) = find_set(DatasetConfig(root=str(tmp_path)), "", modalities).pairs
    assert {name: path.parent.name for name, path in pair.images.items()} == {
        name: folders[name] for name in modalities
    }
    assert list(pair.images) == list(modalities) and pair.reference == pair.images[modalities[0]]


def test_partners_are_those_of_the_first_modality(tmp_path: Path, one_line: OneLine) -> None:
    touch(tmp_path, "RGB", "depth", "GT", stems="ab")
    touch(tmp_path, "T", stems="abc", endings=(".png",))
    config = DatasetConfig(root=str(tmp_path))
    assert one_line(find_set, config, "", RGBT) == (
        f"{tmp_path / 'T' / 'c.png'}: no RGB image of that stem in {tmp_path / 'RGB'}"
    )
    with pytest.raises(UserError) as caught:
        find_set(config, "", ["thermal", "depth"])
    assert [line.partition(": ")[2].partition(" of")[0] for line in str(caught.value).splitlines()] == [
        "no depth image",
        "no mask",
    ]


def test_folders_of_unknown_modalities_are_named(tmp_path: Path, one_line: OneLine) -> None:
    touch(tmp_path / "VT821", "RGB", "T", "GT")
    config = DatasetConfig(root=str(tmp_path / "VT821"), folders={"themal": "T"})
    assert one_line(find_set, config, "", RGBT) == (
        "folders: folders.themal: no modality is called so (did you mean 'thermal'?)"
    )
    config = DatasetConfig("vt821", folders={"depth": "D"})
    assert one_line(find_set, config, str(tmp_path), RGBT) == "vt821: folders.depth: no modality is called so"
    # One that this model leaves out is no mistake.
    assert find_set(DatasetConfig("vt821", folders={"thermal": "gone"}), str(tmp_path), ["rgb"]).pairs


def test_a_collection_folder_is_not_the_merged_set(tmp_path: Path, one_line: OneLine) -> None:
    touch(tmp_path / "TrainDataset" / "NJU2K", *DEPTH)
    message = one_line(find_set, DatasetConfig("nju2k_nlpr"), str(tmp_path), RGBD)
    assert message.startswith("nju2k_nlpr: no folder NJU2K-NLPR or") and "there are: TrainDataset; or" in message


def test_a_broken_set_does_not_hide_a_whole_one(tmp_path: Path, one_line: OneLine) -> None:
    touch(tmp_path / "NLPR" / "Test", "RGB", "GT")
    touch(tmp_path / "TestDataset" / "NLPR", *DEPTH, stems="xy")
    assert stems(DatasetConfig("nlpr", "test"), tmp_path) == "xy"
    message = one_line(find_set, DatasetConfig("nlpr", "train"), str(tmp_path), RGBD)
    assert message == (
        f"nlpr: no folder train in {tmp_path / 'NLPR'}; there are: Test; "
        "a folder that holds the train part alone must have 'train' in its name"
    )
