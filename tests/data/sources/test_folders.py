from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.checking.check import check_set, notes_on
from samsod.data.checking.report import faults_of
from samsod.data.sources.catalog import look_up
from samsod.data.sources.folders import Absent, images_by_stem, some_of, subfolders
from samsod.data.sources.recognise import recognise
from samsod.utils.errors import UserError

MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
ODD = os.fsdecode(b"caf\xe9"), "two\nlines"


@pytest.fixture
def locked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be listed, not even when root runs the tests."""
    folder = tmp_path / "lost+found"
    folder.mkdir()
    listdir = os.listdir

    def refuse(path: Path) -> list[str]:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    return folder


def test_a_folder_that_cannot_be_listed_is_one_line(locked_out: Path, one_line: OneLine) -> None:
    expected = f"{locked_out}: cannot be listed: Permission denied"
    for call in (images_by_stem, subfolders, recognise):
        assert one_line(call, locked_out) == expected
    with pytest.raises(Absent):
        subfolders(locked_out / "gone")


def test_one_beside_data_sets_is_a_note(tmp_path: Path, locked_out: Path, make_set: MakeSet) -> None:
    make_set(tmp_path / "VT821")
    os.symlink("loop", tmp_path / "loop")
    found = recognise(tmp_path)
    assert [one.label for one in found.sets] == ["VT821"] and found.faults == []
    assert found.notes == [f"not taken for a data set: {locked_out}: cannot be listed: Permission denied"]


def test_links_that_lead_nowhere_are_faults_of_their_own(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set")
    for stem, target in (("a", "a.jpg"), ("b", "gone.jpg")):
        (root / "RGB" / f"{stem}.jpg").unlink()
        os.symlink(target, root / "RGB" / f"{stem}.jpg")
    os.mkdir(root / "RGB" / "folder.jpg")
    assert [*images_by_stem(root / "RGB")] == ["a", "b", "c"]
    found = recognise(tmp_path)
    checked = [check_set(found.sets[0], DataConfig(), 1, lambda facts, *_: facts)]
    assert faults_of(found, checked) == [
        f"{root}/RGB/a.jpg: cannot be read: Too many levels of symbolic links",
        f"{root}/RGB/b.jpg: no such file",
    ]


def test_odd_names_make_pairs_and_stay_on_one_line(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set", ODD)
    (root / "T" / f"{ODD[0]}.png").write_bytes(b"")
    (root / "T" / f"{ODD[1]}.png").unlink()
    truth = root / "GT" / f"{ODD[0]}.png"
    truth.write_bytes(truth.read_bytes()[:50])
    found = look_up(DatasetConfig(root=str(root)), "", ("rgb", "thermal"))
    checked = check_set(found, DataConfig(), 1, lambda facts, *_: facts)
    assert checked.faults == [
        f"{root}/RGB/two\\nlines.jpg: no thermal image of that stem in {root}/T",
        f"{root}/T/caf\\udce9.png: the file is empty",
        f"{root}/GT/caf\\udce9.png: the image is truncated: the file ends before the image does",
    ]
    assert some_of(ODD, 1) == "caf\\udce9 and 1 more" and list(notes_on(checked)) == []
    (root / "RGB" / f"{ODD[1]}.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        images_by_stem(root / "RGB")
    assert str(caught.value) == f"{root}/RGB: two files of the same stem: two\\nlines.jpg and two\\nlines.png"
