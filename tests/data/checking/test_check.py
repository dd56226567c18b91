from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from samsod.config.data_schema import DataConfig, ModalityConfig
from samsod.data.checking.check import CheckedSet, check_set
from samsod.data.checking.inspection import PairFacts, inspect_pairs
from samsod.data.checking.report import as_json, faults_of, notes_of, table
from samsod.data.sources.recognise import Recognised, recognise
from tests.conftest import Children

Write = Callable[..., Path]
MakeSet = Callable[..., Path]
OneLine = Callable[..., str]


def silent(items: Iterable[PairFacts], total: int, label: str) -> Iterable[PairFacts]:
    return items


def check(root: Path, family: str = "") -> tuple[Recognised, list[CheckedSet]]:
    found = recognise(root, family)
    return found, [check_set(one, DataConfig(), 1, silent) for one in found.sets]


def row(found: Recognised, checked: list[CheckedSet], index: int = 0) -> dict[str, str]:
    heading, rows = table(checked)
    return dict(zip(heading, rows[index], strict=True))


def test_a_whole_set(tmp_path: Path, make_set: MakeSet) -> None:
    make_set(tmp_path / "VT821", endings=(".jpg", ".PNG", ".png"))
    found, checked = check(tmp_path)
    assert row(found, checked) == {
        "set": "VT821",
        "part": "",
        "pairs": "3",
        "expected": "821",
        "size": "24x16",
        "rgb": "jpg",
        "thermal": "png 8 bit",
        "truth": "png 0/255",
        "unreadable": "0",
        "unmatched": "0",
        "sizes differ": "0",
        "in training too": "0",
    }
    assert faults_of(found, checked) == []
    assert list(notes_of(found, checked)) == ["VT821: 3 pairs, 821 as published"]


def test_every_fault_names_its_file(tmp_path: Path, make_set: MakeSet, write_image: Write) -> None:
    root = make_set(tmp_path / "VT1000", "abcdefgh")
    grey = np.full((16, 24), 120, np.uint8)
    (root / "RGB" / "a.jpg").write_bytes((root / "RGB" / "a.jpg").read_bytes()[:200])
    (root / "T" / "b.png").write_bytes(b"")
    write_image(root / "GT" / "c.png", grey)
    write_image(root / "T" / "d.png", grey[:, :20])
    (root / "GT" / "e.png").unlink()
    (root / "RGB" / "f.jpg").unlink()
    (root / "GT" / "g.png").write_text("no image")
    found, checked = check(tmp_path)
    faults = faults_of(found, checked)
    assert [fault.split(":")[0].split(" has ")[0] for fault in faults] == [
        str(root / name)
        for name in ("RGB/e.jpg", "T/f.png", "GT/f.png", "RGB/a.jpg", "T/b.png", "GT/c.png", "T/d.png", "GT/g.png")
    ]
    assert "truncated" in faults[3] and "empty" in faults[4] and "not a mask" in faults[5] and "20x16" in faults[6]
    cells = row(found, checked)
    assert [cells[key] for key in ("pairs", "unreadable", "unmatched", "sizes differ")] == ["6", "4", "3", "1"]
    assert [pair.stem for pair in checked[0].usable] == ["h"]


def test_kinds_sizes_and_masks(tmp_path: Path, make_set: MakeSet, write_image: Write) -> None:
    root = make_set(tmp_path / "SIP", "abcd", folders=("RGB", "depth", "GT"))
    make_set(root, "e", folders=("RGB", "depth", "GT"), endings=(".bmp", ".tif", ".bmp"), height=30, width=40)
    depth, mask = np.arange(24 * 16).reshape(16, 24), np.zeros((16, 24), np.uint8)
    write_image(root / "depth" / "b.png", (depth * 100).astype(np.uint16))
    write_image(root / "depth" / "c.png", np.repeat(depth[..., None] % 256, 3, 2).astype(np.uint8))
    write_image(root / "depth" / "d.png", np.stack([depth % 256, depth // 2, depth // 3], 2).astype(np.uint8))
    write_image(root / "GT" / "a.png", mask)
    mask[4:8] = 1
    write_image(root / "GT" / "b.png", mask)
    mask[4:6] = 255
    write_image(root / "GT" / "c.png", mask)
    found, checked = check(tmp_path)
    cells = row(found, checked)
    assert faults_of(found, checked) == []
    assert (cells["size"], cells["rgb"]) == ("24x16..40x30", "bmp+jpg")
    assert cells["depth"] == "png+tif 8 bit + 16 bit + 8 bit x3 + 8 bit colour"
    assert cells["truth"] == "bmp+png 0/255 + 0 + 0/1 + 0/255 soft"
    notes = list(notes_of(found, checked))
    assert "SIP: its depth images differ in kind: 2 of 8 bit, 1 of 16 bit, 1 of 8 bit x3, 1 of 8 bit colour" in notes
    assert "SIP: pairs without any foreground (1): a" in notes


def test_damaged_jpegs_are_faults_and_orientation_tags_a_note(
    tmp_path: Path, make_set: MakeSet, damage: Callable[[Path], Path], tag: Callable[..., Path]
) -> None:
    root = make_set(tmp_path / "mine", "abcd", height=64, width=64)
    damage(root / "RGB" / "b.jpg")
    tag(root / "RGB" / "c.jpg")
    tag(root / "T" / "a.png")
    tag(root / "T" / "d.png", 1)
    found, checked = check(tmp_path)
    (fault,) = faults_of(found, checked)
    assert fault.startswith(f"{root}/RGB/b.jpg: the image is damaged (Corrupt JPEG data: ")
    note = f"mine: files with an orientation tag, which is not obeyed (2): {root}/T/a.png and 1 more"
    assert list(notes_of(found, checked)) == [note]


def test_duplicates_are_found_by_what_is_decoded(tmp_path: Path, make_set: MakeSet, write_image: Write) -> None:
    endings = (".png", ".png", ".png")
    train = make_set(tmp_path / "VT5000" / "Train", "abc", endings=endings)
    test = make_set(tmp_path / "VT5000" / "Test", "xyz", endings=endings)
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (16, 24, 3), np.uint8)
    for stem in "xz":
        write_image(test / "RGB" / f"{stem}.png", rng.integers(0, 256, (16, 24, 3), np.uint8))
    (test / "RGB" / "y.png").unlink()
    write_image(test / "RGB" / "y.bmp", picture)
    for stem in "ac":
        write_image(train / "RGB" / f"{stem}.png", picture)
    found, checked = check(tmp_path)
    assert [cells["in training too"] for cells in map(row, [found] * 2, [checked] * 2, (0, 1))] == ["0", "1"]
    notes = list(notes_of(found, checked))
    assert "VT5000 train: RGB images that are there more than once (1): a = c" in notes
    assert "VT5000 test: RGB images that are in VT5000 train too (1): a = y" in notes
    assert faults_of(found, checked) == []
    assert json.loads(json.dumps(as_json(found, checked)))["usable"] is True


def test_scribbles(tmp_path: Path, make_set: MakeSet, write_image: Write) -> None:
    root = make_set(tmp_path / "RGBT-S", "abc", folders=("RGB", "T", "GT"))
    for stem, rows in (("a", 16), ("b", 10), ("c", 5)):  # strokes lie in rows 4 to 12
        region = np.zeros((16, 24), np.uint8)
        region[:rows] = 255
        write_image(root / "mask" / f"{stem}.png", region)
    found, checked = check(tmp_path)
    stray = "RGBT-S: pairs with foreground strokes outside the labelled region (2): b, c"
    assert stray in list(notes_of(found, checked))
    (fault,) = faults_of(found, checked)
    assert fault.startswith(f"{root / 'GT' / 'c.png'}: most of its foreground lies outside the labelled region of")


def test_processes_change_nothing_and_end(tmp_path: Path, make_set: MakeSet, children: Children) -> None:
    make_set(tmp_path / "VT821", [f"{number:02}" for number in range(20)])
    (tmp_path / "VT821" / "T" / "07.png").write_bytes(b"")
    (one,) = recognise(tmp_path).sets
    pairs, thermal = one.whole.pairs, {"rgb": ModalityConfig(), "thermal": ModalityConfig()}
    alone = list(inspect_pairs(pairs, thermal, 1))
    assert list(inspect_pairs(pairs, thermal, 2)) == alone
    assert [facts.stem for facts in alone if facts.faults] == ["07"]
    stopped = inspect_pairs(pairs, thermal, 2)
    next(stopped)
    assert len(children()) == 2
    stopped.close()
    assert not children()


def test_what_watches_a_check_may_fail(tmp_path: Path, make_set: MakeSet, children: Children) -> None:
    def watch(facts: Iterable[PairFacts], *_: object) -> list[PairFacts]:
        next(iter(facts))
        raise KeyboardInterrupt

    make_set(tmp_path / "VT821", [f"{number:02}" for number in range(20)])
    (found,) = recognise(tmp_path).sets
    with pytest.raises(KeyboardInterrupt) as caught:
        check_set(found, DataConfig(), 2, watch)
    assert caught.value.__traceback__ and not children()


def names(found: Recognised) -> list[str]:
    return [f"{one.family.name} {one.label}" for one in found.sets]


def test_everything_in_a_folder_is_recognised(tmp_path: Path, make_set: MakeSet) -> None:
    depth = ("RGB", "depth", "GT")
    make_set(tmp_path / "VT5000" / "Test")
    make_set(tmp_path / "TrainDataset" / "NJU2K", folders=depth)
    make_set(tmp_path / "TestDataset" / "NJU2K", folders=depth)
    make_set(tmp_path / "TestDataset" / "STEREO", folders=depth)
    make_set(tmp_path / "mine" / "train")
    make_set(tmp_path / "mine" / "test")
    make_set(tmp_path / "parts", folders=("RGB/train", "T/train", "GT/train"))
    make_set(tmp_path / "strokes", folders=("RGB", "T", "foreground"))
    make_set(tmp_path / "strokes", folders=("RGB", "T", "labelled"))
    make_set(tmp_path / "views", folders=("RGB", "T", "boxes"))
    found = recognise(tmp_path)
    assert names(found) == [
        "vt5000 VT5000 test",
        "nju2k NJU2K train",
        "nju2k NJU2K test",
        "stere STERE",
        "folders mine train",
        "folders mine test",
        "folders parts train",
        "scribbles strokes",
    ]
    assert found.faults == []
    assert found.notes[0] == "VT5000: the train part was not found"
    assert found.notes[1].startswith(f"not taken for a data set: folders: no folder of masks in {tmp_path / 'views'};")
    assert len(found.notes) == 2


@pytest.mark.parametrize(("folder", "name"), [("VT5000-Train", "vt5000 VT5000 train"), ("mine", "folders mine")])
def test_the_folder_may_be_the_set(tmp_path: Path, make_set: MakeSet, folder: str, name: str) -> None:
    root = make_set(tmp_path / folder)
    assert names(recognise(root)) == [name]


def test_one_family(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "odd")
    make_set(tmp_path / "VT821")
    assert names(recognise(tmp_path, "vt821")) == ["vt821 VT821"]
    assert names(recognise(root, "vt1000")) == ["vt1000 VT1000"]
    assert names(recognise(root, "folders")) == ["folders odd"]
    assert recognise(tmp_path, "sip").faults == [
        f"sip: no folder SIP in {tmp_path}; there are: VT821, odd; or set root to where it lies"
    ]
    assert "(did you mean 'vt821'?)" in one_line(recognise, tmp_path, "vt82")


def test_a_set_that_is_there_but_broken(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "VT1000")
    (root / "GT").rename(root / "edges")
    make_set(tmp_path / "VT821")
    for path in (tmp_path / "VT821" / "T").iterdir():
        path.unlink()
    make_set(tmp_path / "VT5000" / "Test")
    make_set(tmp_path / "VT5000" / "Train", folders=("RGB", "T", "edges"))
    (tmp_path / "NJU2K" / "raw").mkdir(parents=True)
    found = recognise(tmp_path)
    assert names(found) == ["vt5000 VT5000 test"]
    starts = (
        f"vt5000: no folder of masks in {tmp_path / 'VT5000' / 'Train'}; looked for GT, ",
        f"vt1000: no folder of masks in {root}; looked for GT, ",
        f"{tmp_path / 'VT821' / 'T'}: holds no image",
        f"nju2k: no folder train in {tmp_path / 'NJU2K'}; there are: raw; ",
    )
    assert len(found.faults) == len(starts) and all(map(str.startswith, found.faults, starts))


def test_a_tree_is_recognised_with_all_it_has(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "mine")
    make_set(root, "abc", folders=("RGB", "D", "GT"))
    (one,) = recognise(tmp_path).sets
    assert one.modalities == ("rgb", "depth", "thermal") and one.whole.pairs[0].images["depth"].parent == root / "D"
    make_set(root, "abc", folders=("RGB", "P", "GT"))
    (one,) = recognise(tmp_path, folders={"polar": "P", "thermal": "D"}).sets
    assert one.modalities == ("rgb", "depth", "thermal", "polar")
    assert (one.layout.folders["polar"], one.layout.folders["thermal"]) == (root / "P", root / "D")
    found, checked = check(tmp_path)
    cells = row(found, checked)
    assert list(cells)[4:9] == ["size", "rgb", "depth", "thermal", "truth"] and cells["depth"] == "png 8 bit"


def test_columns_are_of_all_modalities_of_all_sets(tmp_path: Path, make_set: MakeSet) -> None:
    make_set(tmp_path / "VT821")
    make_set(tmp_path / "SIP", folders=("RGB", "depth", "GT"))
    heading, rows = table(check(tmp_path)[1])
    cells = {cells[0]: dict(zip(heading, cells, strict=True)) for cells in rows}
    assert heading[5:8] == ["rgb", "thermal", "depth"]
    assert (cells["VT821"]["depth"], cells["SIP"]["thermal"]) == ("-", "-") and cells["SIP"]["depth"] == "png 8 bit"


def test_one_modality_alone_is_a_set_only_when_it_is_asked_for(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "mine", folders=("RGB", "infra", "GT"))
    make_set(tmp_path / "VT821")
    found = recognise(tmp_path)
    assert names(found) == ["vt821 VT821"]
    assert found.notes == [
        f"not taken for a data set: folders: images of one modality alone in {root}: give it as the root if it is one"
    ]
    (one,) = recognise(root).sets
    assert one.modalities == ("rgb",)
    assert any("only RGB images were found; there are: GT, RGB, infra" in note for note in check(root)[0].notes)
    (one,) = recognise(root, folders={"thermal": "infra"}).sets
    assert one.modalities == ("rgb", "thermal")


def test_nothing_to_recognise(tmp_path: Path, one_line: OneLine) -> None:
    assert one_line(recognise, tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"
    (tmp_path / "holiday").mkdir()
    message = one_line(recognise, tmp_path)
    assert message.startswith(f"{tmp_path}: no data set is recognised (VT5000, ") and "holiday" in message


def test_sets_in_a_folder_of_an_archive_are_named(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    for part in ("trainset", "testset"):
        make_set(tmp_path / "Data" / "NJUD" / part, folders=("RGB", "depth", "GT"))
    deeper = f"{tmp_path / 'Data'} holds NJU2K: give it as the root"
    assert one_line(recognise, tmp_path).endswith(f"or folders RGB, T and GT); {deeper}")
    assert len(recognise(tmp_path / "Data").sets) == 2
    make_set(tmp_path / "SIP", folders=("RGB", "depth", "GT"))
    make_set(tmp_path / "RGBT" / "train")
    make_set(tmp_path / "RGBT" / "test" / "VT821")
    found = recognise(tmp_path)
    assert names(found) == ["sip SIP", "folders RGBT train"]
    assert found.notes[-2:] == [deeper, f"{tmp_path / 'RGBT'} holds VT821: give it as the root"]
    assert recognise(tmp_path / "RGBT").notes == []


def test_real_images(shared_data: Path) -> None:
    found = recognise(shared_data)
    assert names(found) == ["folders crackvid", "folders rgbflow train", "folders rgbflow test"]
    assert found.sets[0].modalities == ("rgb", "depth", "thermal")
    assert any(f"no folder of masks in {shared_data / 'pairs'};" in note for note in found.notes)
    found.sets = [found.sets[2]]
    checked = [check_set(found.sets[0], DataConfig(), 1, silent)]
    assert faults_of(found, checked) == []
    cells = row(found, checked)
    assert [cells[key] for key in ("pairs", "expected", "size")] == ["60", "-", "640x360"]
    assert (cells["thermal"], cells["truth"]) == ("jpg 8 bit colour", "png 0/255")
