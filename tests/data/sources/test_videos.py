"""Sets of videos: `VIDEO/RGB/0001.jpg`. Where only names count, the files are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from samsod.config import Config, ModelConfig
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.selection import find_sets, training_sets
from samsod.data.sources.catalog import find_set, look_up
from samsod.data.sources.families import FAMILIES, add_family
from samsod.data.sources.family import Family
from samsod.data.sources.folders import images_or_frames
from samsod.data.sources.recognise import recognise
from samsod.utils.errors import UserError

OneLine = Callable[..., str]
RGBD = ("rgb", "depth")
AS_PUBLISHED: Mapping[str, Sequence[str]] = {
    "rdvs": ("rgb", "Depth", "ground-truth"),
    "vidsod100": ("rgb", "depth", "gt"),
    "dvisal": ("RGB", "Depth", "GT"),
}


def touch_video(video: Path, folders: Sequence[str] = ("RGB", "Depth", "GT"), frames: Iterable[str] = "ab") -> Path:
    """Empty frames in the folders of RGB, depth and masks."""
    for folder, ending in zip(folders, (".jpg", ".png", ".png"), strict=True):
        (video / folder).mkdir(parents=True, exist_ok=True)
        for frame in frames:
            (video / folder / f"{frame}{ending}").touch()
    return video


def stems(config: DatasetConfig, data_root: Path | str = "") -> list[str]:
    return [pair.stem for pair in find_set(config, str(data_root), RGBD).pairs]


PLACES = [
    # family, and where the videos of its training and of its test part lie
    ("rdvs", "RDVS/train", "RDVS/test"),
    ("rdvs", "RDVS/RDVS_train", "RDVS/RDVS_test"),
    ("rdvs", "TrainSet/RDVS", "TestSet/RDVS"),
    ("vidsod100", "vidsod_100/train", "vidsod_100/test"),
    ("vidsod100", "vidsod_100/vidsod_100/train/train", "vidsod_100/vidsod_100/test/test"),
    ("dvisal", "DViSal/train", "DViSal/test"),
    ("dvisal", "DViSal_dataset/data", "DViSal_dataset/data"),
    ("dvisal", "DViSal_dataset/DViSal_dataset/data", "DViSal_dataset/DViSal_dataset/data"),
    ("rdvs", "RDVS", "RDVS"),
]


@pytest.mark.parametrize(("family", "train", "test"), PLACES)
def test_places_in_the_wild(tmp_path: Path, family: str, train: str, test: str) -> None:
    for place, video in ((train, "boat"), (train, "train"), (test, "cat")):
        touch_video(tmp_path / place / video, AS_PUBLISHED[family])
        (tmp_path / place / video / "FLOW").mkdir()
    flow = tmp_path / f"{train}_flow" / "boat"
    flow.mkdir(parents=True)
    (flow / "a.png").touch()
    if train == test:
        beside = (tmp_path / train).parent if train.endswith("data") else tmp_path / train
        (beside / "train.txt").write_text("train\nboat\n")
        (beside / "test_all.txt").write_text("cat\n")
        (beside / "test_easy.txt").write_text("cat\n")
    assert stems(DatasetConfig(family, "train"), tmp_path) == ["boat/a", "boat/b", "train/a", "train/b"]
    assert stems(DatasetConfig(family, "test"), tmp_path) == ["cat/a", "cat/b"]
    found = recognise(tmp_path)
    assert [one.label for one in found.sets] == [
        f"{FAMILIES[family].folders[0]} {part}" for part in FAMILIES[family].splits
    ]
    assert found.faults == []


def test_every_family_of_videos_is_in_these_tests() -> None:
    assert {name for name, *_ in PLACES} == {
        name for name, family in FAMILIES.items() if family.videos and family.folders
    }


def test_pairs_are_named_by_video_and_frame(tmp_path: Path) -> None:
    for video in ("boat", "cat"):
        touch_video(tmp_path / video)
    (pair, *others) = find_set(DatasetConfig("videos", root=str(tmp_path)), "", RGBD).pairs
    assert pair.stem == "boat/a" and [one.stem for one in others] == ["boat/b", "cat/a", "cat/b"]
    assert pair.images["depth"] == tmp_path / "boat" / "Depth" / "a.png"
    assert pair.ground_truth == tmp_path / "boat" / "GT" / "a.png"
    touch_video(tmp_path / "boat", ("RGB", "inverse", "GT"))
    touch_video(tmp_path / "cat", ("RGB", "inverse", "GT"))
    named = DatasetConfig("videos", root=str(tmp_path), folders={"depth": "Inverse"})
    assert {one.images["depth"].parent.name for one in find_set(named, "", RGBD).pairs} == {"inverse"}


def test_frames_without_a_mask_are_passed_over(tmp_path: Path, one_line: OneLine) -> None:
    touch_video(tmp_path / "sets" / "boat", frames="abcdef")
    touch_video(tmp_path / "sets" / "cat")
    for frame in "bcdf":
        (tmp_path / "sets" / "boat" / "GT" / f"{frame}.png").unlink()
    config = DatasetConfig("videos", root=str(tmp_path / "sets"))
    found = look_up(config, "", RGBD)
    assert [pair.stem for pair in found.whole.pairs] == ["boat/a", "boat/e", "cat/a", "cat/b"]
    assert (found.unlabelled, found.unmatched) == (4, ())
    note = "sets: 4 frames without a mask are passed over"
    assert note in recognise(tmp_path / "sets", "videos").notes and note in recognise(tmp_path).notes
    settings = Config(data=DataConfig(train=[config]), model=ModelConfig(modalities=list(RGBD)))
    assert find_sets([config], settings).remarks == ["note: videos: 4 frames without a mask are passed over"]
    # What is missing beside a mask is a fault, and so is a mask that a list asks for.
    (tmp_path / "sets" / "boat" / "Depth" / "e.png").unlink()
    boat = tmp_path / "sets" / "boat"
    assert one_line(stems, config) == f"{boat / 'RGB' / 'e.jpg'}: no depth image of that stem in {boat / 'Depth'}"
    (boat / "RGB" / "e.jpg").unlink()
    with pytest.raises(UserError) as caught:
        stems(config)
    assert str(caught.value) == f"{boat / 'GT' / 'e.png'}: no RGB image of that stem in {boat / 'RGB'}"
    (tmp_path / "some.txt").write_text("boat/a\nboat/b\n")
    listed = DatasetConfig("videos", root=str(tmp_path / "sets"), list_file=str(tmp_path / "some.txt"))
    assert one_line(stems, listed) == f"{boat / 'RGB' / 'b.jpg'}: no mask of that stem in {boat / 'GT'}"


def test_lists_name_frames_and_videos(tmp_path: Path, one_line: OneLine) -> None:
    for video in ("boat", "cat", "dog"):
        touch_video(tmp_path / video)
    (tmp_path / "boat" / "GT" / "b.png").unlink()
    (tmp_path / "val.txt").write_text("dog\ncat/b.png\nboat\n")
    config = DatasetConfig("videos", root=str(tmp_path), list_file="val.txt")
    assert stems(config) == ["dog/a", "dog/b", "cat/b", "boat/a"]
    (tmp_path / "val.txt").write_text("dog\ndog/b\n")
    assert one_line(stems, config) == f"{tmp_path / 'val.txt'}: named twice: dog/b"
    (tmp_path / "val.txt").write_text("dig\n")
    assert "val.txt: no RGB image of the stem dig" in one_line(stems, config)


def test_other_lists_than_those_of_the_parts(tmp_path: Path) -> None:
    root = tmp_path / "DViSal_dataset"
    for video in ("boat", "cat"):
        touch_video(root / "data" / video)
    (root / "val.txt").write_text("cat\n")
    assert stems(DatasetConfig("videos", root=str(root), list_file="val.txt")) == ["cat/a", "cat/b"]


def test_a_family_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "our_films", FAMILIES["rdvs"])
    monkeypatch.delitem(FAMILIES, "our_films")  # both, so that what is added is taken away
    ours = Family("our_films", ("Our-Films",), {"": 2}, RGBD, videos=True)
    add_family(ours)
    touch_video(tmp_path / "our films" / "boat")
    assert stems(DatasetConfig("our_films"), tmp_path) == ["boat/a", "boat/b"]
    assert [one.label for one in recognise(tmp_path).sets] == ["Our-Films"]
    add_family(ours)
    with pytest.raises(ValueError, match="already called 'rdvs'"):
        add_family(Family("rdvs", ("Mine",), {"": None}))


def test_mistakes(tmp_path: Path, one_line: OneLine) -> None:
    root = tmp_path / "RDVS"
    touch_video(root / "boat")
    config = DatasetConfig("rdvs", "train")
    assert one_line(stems, config, tmp_path) == (
        f"rdvs: no folder train in {root}, and no list train.txt of its videos; there are: boat; "
        "a folder that holds the train part alone must have 'train' in its name"
    )
    (root / "train.txt").write_text("boat\ncat\n")
    assert one_line(stems, config, tmp_path) == f"{root / 'train.txt'}: 1 of its 2 videos are not in {root}: cat"
    (root / "train.txt").write_text("boat\n")
    (root / "boat" / "Depth").rename(root / "boat" / "range")
    assert f"rdvs: no folder of depth images in {root / 'boat'}; looked for depth," in one_line(stems, config, tmp_path)
    assert f"rdvs: no folder of depth images in {root / 'boat'}" in recognise(tmp_path).faults[0]
    nothing = DatasetConfig("videos", root=str(root / "boat"))
    assert f"videos: no video in {root / 'boat'}: no folder that holds one of RGB, Img" in one_line(stems, nothing)
    assert one_line(stems, DatasetConfig("videos")) == "videos: set root to the folder that holds the videos"
    path = DatasetConfig("videos", root=str(root), folders={"depth": str(tmp_path)})
    assert one_line(stems, path).startswith(f"videos: {tmp_path}: name only what it is called in each video")


def test_no_video_falls_on_both_sides(tmp_path: Path) -> None:
    for video in range(12):
        touch_video(tmp_path / f"video_{video}", frames="abcdefgh")
    config = Config(
        data=DataConfig(train=[DatasetConfig("videos", root=str(tmp_path))], holdout=0.2),
        model=ModelConfig(modalities=list(RGBD)),
    )
    sets = training_sets(config)
    kept, held = ({pair.stem.partition("/")[0] for pair in found[0].pairs} for found in (sets.train, sets.val))
    assert kept and held and kept.isdisjoint(held) and len(kept | held) == 12
    assert len(sets.val[0].pairs) == 8 * len(held) and sets.remarks == []
    (tmp_path / "one.txt").write_text("video_3\n")
    config.data.train[0].list_file = "one.txt"
    sets = training_sets(config)
    assert len(sets.train[0].pairs) == 8 and sets.val == []
    assert sets.remarks == ["note: nothing is held out of videos: it has a single video, or pair"]


def test_trees_alike_may_be_videos(tmp_path: Path) -> None:
    for video in range(5):
        touch_video(tmp_path / f"video_{video}")
    found = recognise(tmp_path)
    assert [one.family.name for one in found.sets] == ["folders"] * 5
    assert found.notes == ["if the 5 trees are the videos of one set, ask for --set videos"]
    (one,) = recognise(tmp_path, "videos").sets
    assert len(one.whole.pairs) == 10 and one.modalities == RGBD


def test_images_or_frames(tmp_path: Path, one_line: OneLine) -> None:
    touch_video(tmp_path / "boat")
    (tmp_path / "cat").mkdir()
    assert one_line(images_or_frames, tmp_path).startswith(f"{tmp_path}: holds no image")
    assert list(images_or_frames(tmp_path, ("gt",))) == ["boat/a", "boat/b"]
    assert list(images_or_frames(tmp_path / "boat" / "GT")) == ["a", "b"]
    assert list(images_or_frames(tmp_path / "boat")) == [f"{part}/{f}" for part in ("Depth", "GT", "RGB") for f in "ab"]
    assert one_line(images_or_frames, tmp_path / "boat", ("gt",)).startswith(f"{tmp_path / 'boat'}: holds no image")
