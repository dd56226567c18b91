"""Sets whose images were never aligned, and differ in size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samsod.config import Config
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.checking.check import check_set
from samsod.data.checking.report import faults_of, notes_of
from samsod.data.dataset import PairDataset
from samsod.data.selection import find_sets
from samsod.data.sources.recognise import recognise
from samsod.utils.errors import UserError

MakeSet = Callable[..., Path]
OneLine = Callable[..., str]
CONFIG = Config(data=DataConfig(test=[DatasetConfig("uvt2000")]))


@pytest.fixture
def unaligned(tmp_path: Path, make_set: MakeSet, write_image: Callable[..., Path]) -> Path:
    root = make_set(tmp_path / "UVT2000")
    for stem in "abc":
        write_image(root / "T" / f"{stem}.png", np.full((40, 30), 9, np.uint8))
    return tmp_path


def of(root: Path, **data: object) -> Config:
    return replace(CONFIG, data=replace(CONFIG.data, root=str(root), **data))  # type: ignore[arg-type]


def test_they_ask_for_the_setting_they_need(unaligned: Path, one_line: OneLine) -> None:
    config = of(unaligned)
    message = "uvt2000: its images are not aligned, and differ in size: set data.sizes=any"
    assert one_line(find_sets, config.data.test, config) == message
    assert one_line(find_sets, config.data.test, of(unaligned, skip_bad=True)) == message
    config = of(unaligned, sizes="any")
    (found,) = find_sets(config.data.test, config).sets
    sample = PairDataset([found], 32, config.data, augment=False, seed=0)[0]
    assert sample["rgb"].shape == sample["thermal"].shape == (3, 32, 32)
    assert len(find_sets(config.data.test, of(unaligned), ["rgb"]).sets[0].pairs) == 3  # alone it is aligned


def test_a_check_takes_them_as_they_are(unaligned: Path, make_set: MakeSet) -> None:
    found = recognise(unaligned)
    checked = [check_set(one, DataConfig(), 1, lambda facts, *_: facts) for one in found.sets]
    assert faults_of(found, checked) == []
    notes = list(notes_of(found, checked))
    assert "UVT2000: its images are not aligned: train and test with data.sizes=any" in notes
    assert any(note.startswith("UVT2000: pairs of images that differ in size") for note in notes)
    # A mask of another size than its image is a fault there too.
    make_set(unaligned / "UVT2000", "b", folders=("RGB", "spare", "spare2"), height=20)
    checked = [check_set(one, DataConfig(), 1, lambda facts, *_: facts) for one in found.sets]
    (fault,) = faults_of(found, checked)
    assert f"{unaligned / 'UVT2000' / 'GT' / 'b.png'} has 24x16 pixels" in fault and "sizes=any" not in fault


def test_aligned_sets_are_not_let_off(tmp_path: Path, make_set: MakeSet) -> None:
    root = make_set(tmp_path / "VT821")
    make_set(root, "b", folders=("RGB", "spare", "GT"), height=20)
    config = Config(data=DataConfig(test=[DatasetConfig("vt821")], root=str(tmp_path)))
    (found,) = find_sets(config.data.test, config).sets
    with pytest.raises(UserError, match=r"data\.sizes=any resizes each on its own"):
        PairDataset([found], 32, config.data, augment=False, seed=0)[1]
