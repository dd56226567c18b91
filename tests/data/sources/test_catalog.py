from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.catalog import Pair, PairSet, find_set, hold_out
from samsod.data.sources.families import FAMILIES, find_family
from samsod.data.sources.family import Family
from tests.conftest import RGBT

MakeSet = Callable[..., Path]
OneLine = Callable[..., str]


def stems(pairs: PairSet) -> list[str]:
    return [pair.stem for pair in pairs.pairs]


def folders_config(root: Path, **more: object) -> DatasetConfig:
    return DatasetConfig(root=str(root), **more)  # type: ignore[arg-type]


def test_pairs_by_stem_with_any_endings(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set", ("b", "a.1", "c"), endings=(".JPG", ".Png", ".bmp"))
    (root / "RGB" / "Thumbs.db").write_text("")
    (root / "GT" / "._a.1.bmp").write_text("")
    pairs = find_set(folders_config(root), "", RGBT)
    assert pairs.name == "folders" and stems(pairs) == ["a.1", "b", "c"]
    images = {"rgb": root / "RGB" / "a.1.JPG", "thermal": root / "T" / "a.1.Png"}
    assert pairs.pairs[0] == Pair("a.1", images, root / "GT" / "a.1.bmp")
    assert find_set(folders_config(root, name="mine"), "", RGBT).name == "mine"


@pytest.mark.parametrize(
    "names",
    [
        ("RGB", "T", "GT"),
        ("rgb", "t", "gt"),
        ("Img", "thermal", "Mask"),
        ("images", "depth", "Ground-Truth"),
        ("Image", "th", "labels"),
        ("img", "IR", "masks"),
        ("RGB", "D", "GroundTruth"),
    ],
)
def test_folder_names_in_the_wild(tmp_path: Path, make_set: MakeSet, names: tuple[str, str, str]) -> None:
    root = make_set(tmp_path / "set", folders=names)
    modalities = ("rgb", "depth" if names[1] in ("depth", "D") else "thermal")
    (pair, *_) = find_set(folders_config(root), "", modalities).pairs
    assert [path.parent.name for path in pair.files.values()] == list(names)


def test_explicit_folders_win(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set")
    make_set(root, folders=("left/view", "D", "edges"))
    (pair, *_) = find_set(
        folders_config(root, folders={"rgb": "left/view", "thermal": "d"}, ground_truth="EDGES"), "", RGBT
    ).pairs
    assert pair.images["rgb"].parent == root / "left" / "view"
    assert (pair.images["thermal"].parent.name, pair.ground_truth.parent.name) == ("D", "edges")


@pytest.mark.parametrize("part", ["", "Train"])
def test_explicit_folders_may_lie_elsewhere(tmp_path: Path, make_set: MakeSet, one_line: OneLine, part: str) -> None:
    root = make_set(tmp_path / "set" / part, folders=("View", "T", "GT"))
    views = (root / "View").rename(tmp_path / "views")
    split = part.lower()
    config = folders_config(tmp_path / "set", split=split, folders={"rgb": str(views)})
    assert find_set(config, "", RGBT).pairs[0].reference.parent == views
    folders, masks = {"rgb": str(views), "thermal": str(root / "T")}, str(root / "GT")
    assert len(find_set(DatasetConfig(split=split, folders=folders, ground_truth=masks), "", RGBT).pairs) == 3  # type: ignore[arg-type]
    assert one_line(find_set, folders_config(root, folders={"rgb": str(views / "gone")}), "", RGBT) == (
        f"folders: no such folder: {views / 'gone'}"
    )


def test_explicit_folders_elsewhere_may_hold_the_parts(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set", folders=("View/Train", "T/Train", "GT/Train"))
    views = (root / "View").rename(tmp_path / "views") / "Train"
    (pair, *_) = find_set(folders_config(root, split="train", folders={"rgb": str(tmp_path / "views")}), "", RGBT).pairs
    assert [path.parent for path in pair.images.values()] == [views, root / "T" / "Train"]


@pytest.mark.parametrize(
    "names", [("gt", "mask"), ("Foreground", "Labelled"), ("fg", "region"), ("Scribbles", "masks")]
)
def test_scribbles(tmp_path: Path, make_set: MakeSet, one_line: OneLine, names: tuple[str, str]) -> None:
    strokes, regions = names
    root = make_set(tmp_path / "RGBT-S" / "Train", folders=("Img", "T", strokes))
    message = one_line(find_set, DatasetConfig("rgbts"), str(tmp_path), RGBT)
    assert message.startswith(f"rgbts: no folder of labelled-region images in {root}; looked for mask, masks, labelled")
    make_set(root, folders=("Img", "T", regions))
    for config in (DatasetConfig("rgbts"), DatasetConfig("scribbles", root=str(root))):
        (pair, *_) = find_set(config, str(tmp_path), RGBT).pairs
        assert pair.labelled and pair.labelled.parent == root / regions
        assert pair.ground_truth.parent == root / strokes
    if regions.lower() == "mask":  # where `mask` is one of two that could be the truth, it stays the second choice
        (pair, *_) = find_set(folders_config(root), "", RGBT).pairs
        assert pair.ground_truth.parent == root / strokes and pair.labelled is None
    (root / regions / "b.png").unlink()
    assert one_line(find_set, DatasetConfig("rgbts"), str(tmp_path), RGBT) == (
        f"{root / 'Img' / 'b.jpg'}: no labelled-region image of that stem in {root / regions}"
    )


def test_scribbles_with_the_images_of_the_full_set(tmp_path: Path, make_set: MakeSet) -> None:
    images = make_set(tmp_path / "VT5000" / "Train")
    root = make_set(tmp_path / "RGBT-S", folders=("gt", "gt", "mask"), endings=(".png",) * 3)
    config = DatasetConfig("rgbts", folders={"rgb": str(images / "RGB"), "thermal": str(images / "T")})
    assert find_set(config, str(tmp_path), RGBT).pairs[0] == Pair(
        "a", {"rgb": images / "RGB/a.jpg", "thermal": images / "T/a.png"}, root / "gt/a.png", root / "mask/a.png"
    )


@pytest.mark.parametrize(
    "layout",
    [
        "VT5000/{part}/{modality}",
        "vt5000/{modality}/{part}",
        "{part}/VT5000/{modality}",
        "VT5000-{part}/{modality}",
        "VT5000/VT5000_{part}/{modality}",
        "VT5000_clear/{part}/{modality}",
    ],
)
def test_parts_above_and_below(tmp_path: Path, make_set: MakeSet, layout: str) -> None:
    for part, part_stems in (("Train", ("a", "b")), ("Test", ("c",))):
        make_set(tmp_path, part_stems, tuple(layout.format(part=part, modality=m) for m in ("RGB", "T", "GT")))
    (tmp_path / "VT821").mkdir()
    assert stems(find_set(DatasetConfig("vt5000", "train"), str(tmp_path), RGBT)) == ["a", "b"]
    assert stems(find_set(DatasetConfig("vt5000", "test"), str(tmp_path), RGBT)) == ["c"]


@pytest.mark.parametrize("layout", ["VT821", "vt821", "Test/VT821"])
def test_a_set_without_parts(tmp_path: Path, make_set: MakeSet, layout: str) -> None:
    make_set(tmp_path / layout)
    pairs = find_set(DatasetConfig("vt821"), str(tmp_path), RGBT)
    assert pairs.name == "VT821" and stems(pairs) == ["a", "b", "c"]


def test_root_may_be_the_part_itself(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "elsewhere" / "my-train")
    assert len(find_set(DatasetConfig("vt5000", "train", str(root)), "", RGBT).pairs) == 3


def test_one_folder_is_not_both_parts(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "sets" / "VT5000")
    for split in ("train", "test"):
        message = one_line(find_set, DatasetConfig("vt5000", split), str(tmp_path / "sets"), RGBT)
        assert message == (
            f"vt5000: no folder {split} in {root}; there are: GT, RGB, T; "
            f"a folder that holds the {split} part alone must have '{split}' in its name"
        )


def test_a_part_that_one_modality_lacks(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set", folders=("RGB/Train", "T/Train", "GT"))
    message = one_line(find_set, folders_config(root, split="train"), "", RGBT)
    assert message.startswith(f"folders: no folder train in {root / 'GT'}; it has no sub-folders")


def test_missing_folders(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    make_set(tmp_path / "VT1000")
    assert one_line(find_set, DatasetConfig("vt821"), str(tmp_path), RGBT) == (
        f"vt821: no folder VT821 in {tmp_path}; there are: VT1000; or set root to where it lies"
    )
    gone = tmp_path / "gone"
    assert one_line(find_set, DatasetConfig("vt821"), str(gone), RGBT) == f"vt821: data.root is no folder: {gone}"
    assert one_line(find_set, folders_config(gone), "", RGBT) == f"folders: no such folder: {gone}"
    assert one_line(find_set, DatasetConfig(), str(tmp_path), RGBT).startswith("folders: set root to the folder that")
    (tmp_path / "VT1000" / "T").rename(tmp_path / "VT1000" / "infra")
    assert one_line(find_set, DatasetConfig("vt1000"), str(tmp_path), RGBT) == (
        f"vt1000: no folder of thermal images in {tmp_path / 'VT1000'}; "
        "looked for T, thermal, th, IR, infrared, thermals; there are: GT, RGB, infra"
    )


def test_forgotten_split_is_hinted_at(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    make_set(tmp_path / "set" / "Train")
    message = one_line(find_set, folders_config(tmp_path / "set"), "", RGBT)
    assert message.endswith("there are: Train; or set split to train or test")


def test_two_folders_of_one_name(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set")
    (root / "rgb").mkdir()
    if len(list(root.iterdir())) < 4:
        pytest.skip("this file system does not tell RGB from rgb")
    assert one_line(find_set, folders_config(root), "", RGBT) == f"{root}: cannot choose between RGB and rgb"


def test_unknown_family_and_split(one_line: OneLine) -> None:
    assert one_line(find_family, DatasetConfig("vt500")) == (
        f"no data set family is called 'vt500' (did you mean 'vt5000'?); known: {', '.join(sorted(FAMILIES))}"
    )
    assert one_line(find_family, DatasetConfig("vt5000")) == "vt5000: split is ''; expected train or test"
    assert one_line(find_family, DatasetConfig("vt821", "test")) == (
        "vt821: split is 'test'; it has no parts, leave split out"
    )
    assert find_family(DatasetConfig("vt5000", "test")).splits["test"] == 2500


def test_a_new_family_is_a_line_of_data(tmp_path: Path, make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {**FAMILIES, "ours": Family("ours", ("Our Depth", "OD"), {"train": 80, "test": 20}, ("rgb", "depth"))}
    monkeypatch.setattr("samsod.data.sources.families.FAMILIES", table)
    make_set(tmp_path / "OD_Test", folders=("RGB", "depth", "GT"))
    pairs = find_set(DatasetConfig("ours", "test"), str(tmp_path), ["rgb", "depth"])
    assert pairs.name == "Our Depth" and len(pairs.pairs) == 3


def pairs(names: list[str]) -> list[Pair]:
    return [Pair(name, {"rgb": Path(name)}, Path(name)) for name in names]


def test_hold_out_is_a_stable_partition() -> None:
    everything = pairs([f"image_{number}" for number in range(2000)])
    kept, held = hold_out(everything, 0.05)
    assert sorted(t.stem for t in (*kept, *held)) == sorted(t.stem for t in everything)
    assert 60 <= len(held) <= 140
    assert list(kept) == sorted(kept, key=everything.index)
    # The same files whatever else is in the set, and in every release.
    assert {t.stem for t in hold_out(everything[:500], 0.05)[1]} == {t.stem for t in held} & {
        t.stem for t in everything[:500]
    }
    first_bytes = {name: hashlib.sha256(name.encode()).digest()[0] for name in ("image_15", "image_28")}
    assert max(first_bytes.values()) < 0.05 * 256
    assert [t.stem for t in hold_out(everything[:60], 0.05)[1]] == list(first_bytes)


@pytest.mark.parametrize("share", [1e-9, 0.05, 0.5, 0.999999999])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_hold_out_leaves_neither_part_empty(share: float, count: int) -> None:
    kept, held = hold_out(pairs([f"{number}" for number in range(count)]), share)
    assert kept and held and len(kept) + len(held) == count


def test_hold_out_is_by_video() -> None:
    frames = pairs([f"video_{video}/{frame:03}" for video in range(40) for frame in range(5 + video % 7)])
    kept, held = hold_out(frames, 0.2)
    videos = [{one.stem.partition("/")[0] for one in part} for part in (kept, held)]
    assert videos[0].isdisjoint(videos[1]) and 2 <= len(videos[1]) <= 14 and len(kept) + len(held) == len(frames)
    # The same videos whatever else is in the set, as an image of the video's name would be.
    assert {one.stem for one in hold_out(pairs([f"video_{video}" for video in range(40)]), 0.2)[1]} == videos[1]
    assert hold_out(frames[:5], 0.5) == (tuple(frames[:5]), ())  # one video
    kept, held = hold_out(frames[:11], 1e-9)
    assert {len(kept), len(held)} == {5, 6}


def test_hold_out_of_nothing() -> None:
    everything = tuple(pairs(["a", "b", "c"]))
    assert hold_out(everything, 0) == (everything, ())
    assert hold_out(everything[:1], 0.5) == (everything[:1], ())
    assert hold_out((), 0.5) == ((), ())


def test_real_sets(shared_data: Path) -> None:
    crack = shared_data / "crackvid"
    train = find_set(folders_config(crack, list_file="train.txt", name="crack"), "", RGBT)
    val = find_set(folders_config(crack, list_file=str(crack / "val.txt")), "", ["rgb", "depth"])
    assert (len(train.pairs), len(val.pairs)) == (232, 60)
    assert not set(stems(train)) & set(stems(val))
    assert train.pairs[0].images["thermal"].parent.name == "T" and val.pairs[0].images["depth"].parent.name == "D"
    for split, count in (("train", 149), ("test", 60)):
        assert len(find_set(folders_config(shared_data / "rgbflow", split=split), "", RGBT).pairs) == count


def test_real_pairs_without_masks(shared_data: Path, one_line: OneLine) -> None:
    message = one_line(find_set, folders_config(shared_data / "pairs"), "", RGBT)
    assert re.search(r"no folder of masks in .*pairs; looked for GT, .*; there are: RGB, T$", message)
