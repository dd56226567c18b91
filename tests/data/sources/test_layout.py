"""Where data sets lie in the wild. Only names count here, so the files are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.catalog import find_set
from samsod.data.sources.families import FAMILIES
from samsod.data.sources.recognise import recognise
from samsod.utils.errors import UserError
from tests.conftest import RGBT

OneLine = Callable[..., str]
RGBD = ("rgb", "depth")


def touch(
    root: Path, *folders: str, stems: Iterable[str] = "ab", endings: tuple[str, ...] = (".jpg", ".png", ".png")
) -> Path:
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
    ("vt5000", "VT5000/Train/Train", "VT5000/Test/Test"),
    ("uvt20k", "UVT20K/Train", "UVT20K/Test"),
    ("nju2k", "NJU2K_Train", "NJU2K_Test"),
    ("nju2k", "TrainDataset/NJU2K", "TestDataset/NJU2K"),
    ("nju2k", "RGBD_for_train/NJU2K", "RGBD_for_test/NJU2K"),
    ("nju2k", "NJUD/train", "NJU2K/test"),
    ("nju2k", "NJU2K/Training", "TestingSet/NJU2K"),
    ("nlpr", "train/NLPR", "test/nlpr"),
    ("nlpr", "nlpr_train", "TestDataset/NLPR"),
    ("dut_rgbd", "DUT-RGBD/train_data", "DUT-RGBD/test_data"),
    ("dut_rgbd", "DUTLF-Depth/trainset", "DUTLF-Depth/testset"),
    ("dut_rgbd", "TrainDataset/DUT-RGBD", "TestDataset/DUT"),
    ("redweb_s", "ReDWeb-S/trainset", "ReDWeb-S/testset"),
    ("cod10k", "COD10K-v3/Train", "COD10K-v3/Test"),
    ("cod10k", "COD10K_Train", "TestDataset/COD10K"),
    ("camo", "CAMO/Train", "TestDataset/CAMO"),
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
    ("vt723", "VT723"),
    ("vi_rgbt1500", "VI-RGBT1500"),
    ("vi_rgbt1500", "RGBT1500"),
    ("uvt2000", "UVT2000"),
    ("uvt2000", "VT2000_unalign"),
    ("lfsd", "TestDataset/LFSD"),
    ("des", "DES"),
    ("des", "RGBD_for_test/RGBD135"),
    ("ssd", "SSD"),
    ("ssd", "test/SSD100"),
    ("stere797", "STEREO-797"),
    ("nc4k", "NC4K"),
    ("chameleon", "TestDataset/CHAMELEON"),
    ("cod10k_camo", "TrainDataset"),
    ("cod10k_camo", "TrainValDataset"),
    ("cod10k_camo", "COD10K+CAMO/train"),
    ("nju2k_nlpr_dut", "NJU2K_NLPR_DUT"),
    ("nju2k_nlpr_dut", "RGBD-TR-2985"),
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
    published = {name for name, family in FAMILIES.items() if family.folders and not family.videos}
    assert {name for name, *_ in (*PARTS, *WHOLE)} == published


def test_a_check_recognises_them_all_in_one_folder(tmp_path: Path) -> None:
    """Each where it was listed last above, but for those that share a folder named after its part alone."""
    expected = set()
    for family, *places in {
        row[0]: row for row in (*PARTS, *WHOLE) if row[1] not in ("TrainDataset", "RGBD_for_train")
    }.values():
        roles = FAMILIES[family].roles(FAMILIES[family].modalities)
        for part, place in zip(FAMILIES[family].splits, places, strict=True):
            touch(tmp_path / place, *(role.names[0] for role in roles.values()))
            expected.add((family, part))
    found = recognise(tmp_path)
    assert {(one.family.name, one.config.split) for one in found.sets} == expected
    assert {family for family, _ in expected} == {name for name, *_ in (*PARTS, *WHOLE)}
    assert found.faults == [] and found.notes == []


def test_the_counts_are_the_papers() -> None:
    counts = {name: dict(family.splits) for name, family in FAMILIES.items() if family.folders}
    assert counts == {
        "vt5000": {"train": 2500, "test": 2500},
        "vt1000": {"": 1000},
        "vt821": {"": 821},
        "rgbts": {"": 2500},
        "vt723": {"": 723},
        "vi_rgbt1500": {"": 1500},
        "uvt2000": {"": 2000},
        "uvt20k": {"train": None, "test": None},
        "nju2k": {"train": 1485, "test": 500},
        "nlpr": {"train": 700, "test": 300},
        "dut_rgbd": {"train": 800, "test": 400},
        "nju2k_nlpr": {"": 1485 + 700},
        "nju2k_nlpr_dut": {"": 1485 + 700 + 800},
        "stere797": {"": 797},
        "lfsd": {"": 100},
        "des": {"": 135},
        "ssd": {"": 80},
        "redweb_s": {"train": 2179, "test": 1000},
        "stere": {"": 1000},
        "sip": {"": 929},
        "neu_rsdds_aug": {"train": 1500, "test": 362},
        "vdt2048": {"train": 1048, "test": 1000},
        "rdvs": {"train": None, "test": None},
        "vidsod100": {"train": None, "test": None},
        "dvisal": {"train": None, "test": None},
        "cod10k_camo": {"": 3040 + 1000},
        "cod10k": {"train": 3040, "test": 2026},
        "camo": {"train": 1000, "test": 250},
        "nc4k": {"": 4121},
        "chameleon": {"": 76},
    }


@pytest.mark.parametrize("base", ["DUT-RGBD/{}_data", "DUT-RGBD", "DUT-RGBD/DUT-RGBD"])
def test_folders_of_images_may_say_the_part(tmp_path: Path, base: str) -> None:
    for part, names in (("train", "ab"), ("test", "xyz")):
        folders = [f"{part}_{kind}" for kind in ("images", "depth", "masks")]
        touch(tmp_path / base.format(part), *folders, stems=names)
    assert stems(DatasetConfig("dut_rgbd", "train"), tmp_path) == "ab"
    assert stems(DatasetConfig("dut_rgbd", "test"), tmp_path) == "xyz"


def test_files_may_end_in_their_folders_name(tmp_path: Path) -> None:
    root = touch(tmp_path / "RGBD135", "RGB", "GT")
    for stem in "ab":
        touch(root, "depth", stems=[f"{stem}_depth"], endings=(".png",))
    assert stems(DatasetConfig("des"), tmp_path) == "ab"
    (root / "depth" / "b_depth.png").rename(root / "depth" / "b.png")  # now they differ, and mean what they say
    with pytest.raises(UserError) as caught:
        stems(DatasetConfig("des"), tmp_path)
    assert [line.partition(f"{root}/")[2].partition(" of")[0] for line in str(caught.value).splitlines()] == [
        "RGB/a.jpg: no depth image",
        "depth/a_depth.png: no RGB image",
    ]


def test_masks_of_both_parts_in_one_folder(tmp_path: Path, one_line: OneLine) -> None:
    """As CAMO comes from its authors; of other sets the same stems may mean other images."""
    for family, place in (("camo", "CAMO-V.1.0-CVIU2019"), ("folders", "mine")):
        root = touch(tmp_path / place, "Images/Train", stems="ab")
        touch(root, "Images/Test", stems="xyz")
        touch(root, "GT", stems="abxyz", endings=(".png",))
        for split, expected in (("train", "ab"), ("test", "xyz")):
            config = DatasetConfig(family, split, "" if family == "camo" else str(root))  # type: ignore[arg-type]
            if family == "camo":
                assert stems(config, tmp_path) == expected
            else:
                assert f"no folder {split} in {root / 'GT'}" in one_line(find_set, config, "", ["rgb"])
    (tmp_path / "CAMO-V.1.0-CVIU2019" / "GT" / "b.png").unlink()
    message = one_line(find_set, DatasetConfig("camo", "train"), str(tmp_path), ["rgb"])
    assert message.endswith(f"Images/Train/b.jpg: no mask of that stem in {tmp_path / 'CAMO-V.1.0-CVIU2019' / 'GT'}")


def test_masks_of_objects_among_other_annotations(tmp_path: Path) -> None:
    touch(tmp_path / "COD10K-v3" / "Test", "Image", "GT_Edge", "GT_Instance", "GT_Object")
    (pair, _) = find_set(DatasetConfig("cod10k", "test"), str(tmp_path), ["rgb"]).pairs
    assert pair.ground_truth.parent.name == "GT_Object"


@pytest.mark.parametrize(
    ("folders", "family"), [(("Imgs", "GT"), "cod10k_camo"), (("RGB", "depth", "GT"), "nju2k_nlpr")]
)
def test_a_folder_named_by_its_part_is_told_by_what_it_holds(
    tmp_path: Path, one_line: OneLine, folders: tuple[str, ...], family: str
) -> None:
    touch(tmp_path / "TrainDataset", *folders)
    touch(tmp_path / "TestDataset" / "CAMO", "Imgs", "GT")
    found = recognise(tmp_path)
    assert [one.family.name for one in found.sets] == [family, "camo"] and found.faults == []
    (other,) = {"cod10k_camo", "nju2k_nlpr"} - {family}
    message = one_line(find_set, DatasetConfig(other), str(tmp_path), FAMILIES[other].modalities)
    assert message.startswith(f"{other}: no folder ")


def test_a_disk_that_bears_a_sets_name_is_none(tmp_path: Path) -> None:
    touch(tmp_path / "ssd" / "VT821", "RGB", "T", "GT")
    found = recognise(tmp_path / "ssd")
    assert [one.label for one in found.sets] == ["VT821"] and found.faults == []
    touch(tmp_path / "ssd", *DEPTH)
    assert [one.label for one in recognise(tmp_path / "ssd").sets] == ["VT821", "SSD"]


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
