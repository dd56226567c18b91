from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.data.sources.catalog import find_set
from tests.conftest import RGBT
from tests.data.sources.test_catalog import folders_config, stems

MakeSet = Callable[..., Path]
OneLine = Callable[..., str]


def test_empty_folder(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set", stems=("a",))
    (root / "T" / "a.png").unlink()
    (root / "T" / "notes.txt").write_text("none yet")
    message = one_line(find_set, folders_config(root), "", RGBT)
    assert message == f"{root / 'T'}: holds no image (.jpg, .jpeg, .png, .bmp, .tif, .tiff)"


def test_missing_partners(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set", [f"{number:02}" for number in range(20)])
    (root / "T" / "07.png").unlink()
    message = one_line(find_set, folders_config(root), "", RGBT)
    assert message == f"{root / 'RGB' / '07.jpg'}: no thermal image of that stem in {root / 'T'}"
    make_set(root, ["07"])
    for number in range(8):
        (root / "GT" / f"{number:02}.png").unlink()
    assert one_line(find_set, folders_config(root), "", RGBT) == (
        f"{root / 'RGB'}: 8 files have no mask in {root / 'GT'}: 00, 01, 02, 03, 04 and 3 more"
    )


def test_every_fault_has_its_line(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set")
    (root / "T" / "a.png").rename(root / "T" / "z.png")
    (root / "GT" / "b.png").unlink()
    with pytest.raises(ValueError) as caught:
        find_set(folders_config(root), "", RGBT)
    assert str(caught.value).splitlines() == [
        f"{root / 'RGB' / 'a.jpg'}: no thermal image of that stem in {root / 'T'}",
        f"{root / 'RGB' / 'b.jpg'}: no mask of that stem in {root / 'GT'}",
        f"{root / 'T' / 'z.png'}: no RGB image of that stem in {root / 'RGB'}",
    ]


def test_partners_without_rgb(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set")
    (root / "RGB" / "a.jpg").unlink()
    (root / "T" / "a.png").unlink()
    message = one_line(find_set, folders_config(root), "", RGBT)
    assert message == f"{root / 'GT' / 'a.png'}: no RGB image of that stem in {root / 'RGB'}"
    for stem in "defghij":
        (root / "GT" / f"{stem}.png").write_bytes(b"")
    assert one_line(find_set, folders_config(root), "", RGBT) == (
        f"{root / 'GT'}: 8 files have no RGB image in {root / 'RGB'}: a, d, e, f, g and 3 more"
    )


def test_two_files_of_one_stem(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set")
    (root / "RGB" / "a.PNG").write_bytes(b"")
    message = one_line(find_set, folders_config(root), "", RGBT)
    assert message == f"{root / 'RGB'}: two files of the same stem: a.PNG and a.jpg"


def test_list_file_selects_and_orders(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "set")
    (root / "T" / "b.png").unlink()  # not selected, so it need not be whole
    (tmp_path / "elsewhere.txt").write_text("\ufeffc.jpg\r\n\r\na \r\n", encoding="utf-8")
    (root / "inside.txt").write_text("a\nc\n")
    at = {"list_file": str(tmp_path / "elsewhere.txt")}
    assert stems(find_set(folders_config(root, **at), "", RGBT)) == ["c", "a"]
    assert stems(find_set(folders_config(root, list_file="inside.txt"), "", RGBT)) == ["a", "c"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the list file names no stem"),
        (b"a\nb\na\n", "named twice: a"),
        (b"a\nx\ny\n", "2 stems have no RGB image in {rgb}: x, y"),
        (b"a\nx\n", "no RGB image of the stem x in {rgb}"),
        (b"\xff\xd8\xff\xe0", "the list file is not a text file"),
    ],
)
def test_bad_list_files(tmp_path: Path, make_set: MakeSet, one_line: OneLine, content: bytes, cause: str) -> None:
    root = make_set(tmp_path / "set")
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    message = one_line(find_set, folders_config(root, list_file=str(path)), "", RGBT)
    assert message == f"{path}: {cause.format(rgb=root / 'RGB')}"


def test_missing_list_file(tmp_path: Path, make_set: MakeSet, one_line: OneLine) -> None:
    root = make_set(tmp_path / "set")
    message = one_line(find_set, folders_config(root, list_file="gone.txt"), "", RGBT)
    assert message == f"gone.txt: no such list file, here or in {root}"
