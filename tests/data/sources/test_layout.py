"""Where data sets lie in the wild. Only names count here, so the files are empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.catalog import find_set
from samsod.data.sources.families import FAMILIES

OneLine = Callable[..., str]


def touch(root: Path, *folders: str, stems: str = "ab", endings: tuple[str, ...] = (".jpg", ".png", ".png")) -> Path:
    """Empty files of the same stems in the folders of RGB, second modality, truth (and labelled regions)."""
    for index, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            (root / folder / f"{stem}{endings[min(index, 2)]}").touch()
    return root


def stems(config: DatasetConfig, data_root: Path) -> str:
    return "".join(triplet.stem for triplet in find_set(config, str(data_root)).triplets)


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
]


@pytest.mark.parametrize(("family", "train", "test"), PARTS)
def test_parts(tmp_path: Path, family: str, train: str, test: str) -> None:
    second = "T" if FAMILIES[family].second == "thermal" else "Depth"
    touch(tmp_path / train, "Img", second, "gt", stems="ab")
    touch(tmp_path / test, "rgb", second.lower(), "Mask", stems="xyz", endings=(".JPG", ".Bmp", ".TIFF"))
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
    second = "T" if FAMILIES[family].second == "thermal" else "depth"
    touch(tmp_path / place, "RGB", second, "GT", *(["mask"] if FAMILIES[family].scribbles else []))
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
    }


def test_the_second_modality_decides_what_is_looked_for(tmp_path: Path, one_line: OneLine) -> None:
    root = touch(tmp_path / "SIP", "RGB", "T", "GT")
    assert one_line(find_set, DatasetConfig("sip"), str(tmp_path)) == (
        f"sip: no folder of depth images in {root}; looked for depth, depths, D, dep, depth map, depth maps; "
        "there are: GT, RGB, T"
    )
    touch(root, "depth", endings=(".png",))
    (root / "depth" / "b.png").unlink()
    assert one_line(find_set, DatasetConfig("sip"), str(tmp_path)) == (
        f"{root / 'RGB' / 'b.jpg'}: no depth image of that stem in {root / 'depth'}"
    )
    touch(tmp_path / "mine", "RGB", "T", "depth", "GT")
    own = find_set(DatasetConfig(root=str(tmp_path / "mine")), "")
    assert own.triplets[0].thermal.parent.name == "T"


def test_a_collection_folder_is_not_the_merged_set(tmp_path: Path, one_line: OneLine) -> None:
    touch(tmp_path / "TrainDataset" / "NJU2K", *DEPTH)
    message = one_line(find_set, DatasetConfig("nju2k_nlpr"), str(tmp_path))
    assert message.startswith("nju2k_nlpr: no folder NJU2K-NLPR or") and "there are: TrainDataset; or" in message


def test_a_broken_set_does_not_hide_a_whole_one(tmp_path: Path, one_line: OneLine) -> None:
    touch(tmp_path / "NLPR" / "Test", "RGB", "GT")
    touch(tmp_path / "TestDataset" / "NLPR", *DEPTH, stems="xy")
    assert stems(DatasetConfig("nlpr", "test"), tmp_path) == "xy"
    message = one_line(find_set, DatasetConfig("nlpr", "train"), str(tmp_path))
    assert message == (
        f"nlpr: no folder train in {tmp_path / 'NLPR'}; there are: Test; "
        "a folder that holds the train part alone must have 'train' in its name"
    )
