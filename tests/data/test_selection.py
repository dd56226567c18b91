from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samsod.config import Config, LossConfig
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.selection import Sets, find_sets, scored_sets, training_sets
from samsod.engine.checkpoint import load_checkpoint
from samsod.utils.errors import UserError
from samsod.workflows import test as run_test
from samsod.workflows import train
from tests.conftest import write_pairs
from tests.ranks import run_ranks

CPU = torch.device("cpu")


def spoil(root: Path) -> list[str]:
    """Makes three pairs of twelve unusable, and adds a file without partners; returns what is to be said of them."""
    (root / "T" / "003.png").unlink()
    (root / "RGB" / "004.png").write_bytes((root / "RGB" / "004.png").read_bytes()[:300])
    (root / "GT" / "005.png").write_bytes((root / "RGB" / "005.png").read_bytes())
    (root / "GT" / "extra.png").write_bytes((root / "GT" / "006.png").read_bytes())
    return [
        "data.skip_bad: 4 of the 13 pairs of pairs are left out",
        f"left out: {root / 'RGB' / '003.png'}: no thermal image of that stem in {root / 'T'}",
        f"left out: {root / 'GT' / 'extra.png'}: no RGB image of that stem in {root / 'RGB'}",
        f"left out: {root / 'RGB' / '004.png'}: the image is truncated: the file ends before the image does",
        f"left out: {root / 'GT' / '005.png'}: not a mask: its three channels differ",
    ]


def remarked(remarks: list[str], expected: list[str]) -> bool:
    return len(remarks) == len(expected) and all(map(str.startswith, remarks, expected))


def config_of(root: Path, **data: object) -> Config:
    return Config(data=DataConfig(train=[DatasetConfig(name="pairs", root=str(root))], **data))  # type: ignore[arg-type]


def test_bad_pairs_are_left_out_and_named(pairs_folder: Path) -> None:
    expected = spoil(pairs_folder)
    config = config_of(pairs_folder, skip_bad=True)
    ((pairs,), remarks) = find_sets(config.data.train, config)
    assert [int(pair.stem) for pair in pairs.pairs] == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    assert remarked(remarks, expected)
    (pairs_folder / "some.txt").write_text("006\n004\ngone\n001\n")
    listed = replace(config.data.train[0], list_file="some.txt")
    ((pairs,), remarks) = find_sets([listed], config)
    assert [pair.stem for pair in pairs.pairs] == ["006", "001"]
    assert remarks[0] == "data.skip_bad: 2 of the 4 pairs of pairs are left out" and len(remarks) == 3
    with pytest.raises(UserError, match=r"no thermal image of that stem in .*/T\n.*no RGB image of that stem"):
        find_sets(config.data.train, config_of(pairs_folder))


def test_whole_sets_are_left_alone(pairs_folder: Path) -> None:
    config = config_of(pairs_folder)
    plain = find_sets(config.data.train, config)
    assert plain == find_sets(config.data.train, config_of(pairs_folder, skip_bad=True)) and plain.remarks == []


def test_a_set_without_any_good_pair_is_an_error(pairs_folder: Path) -> None:
    for path in (pairs_folder / "GT").iterdir():
        path.write_bytes(b"")
    config = config_of(pairs_folder, skip_bad=True)
    with pytest.raises(UserError) as caught:
        find_sets(config.data.train, config)
    assert str(caught.value) == f"{pairs_folder}: no pair can be used: {pairs_folder}/GT/000.png: the file is empty"


def find_on_rank(root: str) -> Sets | str:
    config = config_of(Path(root), skip_bad=True)
    try:
        return find_sets(config.data.train, config)
    except UserError as error:
        return str(error)


def find_good_and_bad(roots: list[str]) -> list[Sets | str]:
    return [find_on_rank(root) for root in roots]


def test_all_ranks_get_what_rank_0_found(tmp_path: Path, pairs_folder: Path) -> None:
    spoil(pairs_folder)
    roots = [str(pairs_folder), str(tmp_path / "gone")]
    alone = find_good_and_bad(roots)
    assert isinstance(alone[0], Sets) and alone[1] == f"folders: no such folder: {tmp_path / 'gone'}"
    assert run_ranks(find_good_and_bad, 2, roots) == [alone, alone]


def test_training_and_testing_without_the_bad_pairs(config: Config, pairs_folder: Path, tmp_path: Path) -> None:
    expected = spoil(pairs_folder)
    config.model.image_size = 32
    config.data.skip_bad, config.data.holdout, config.train.steps, config.test.contact_sheet = True, 0, 1, 0
    train(config, CPU)
    log = (Path(config.output) / "log.txt").read_text()
    assert all(line in log for line in expected)
    config.train.steps = 2  # resumed: the same files are found again
    assert train(config, CPU).step == 2
    path = Path(config.output) / "checkpoints" / "step_00000002.pt"
    assert load_checkpoint(str(path))["step"] == 2
    results = run_test(config, CPU, str(path), tmp_path / "test")
    assert results["final"]["again"]["images"] == 9
    log = (tmp_path / "test" / "log.txt").read_text()
    assert "data.skip_bad: 4 of the 13 pairs of again are left out" in log and "005.png: not a mask" in log


@pytest.fixture
def scribbles(tmp_path: Path) -> DatasetConfig:
    root = write_pairs(tmp_path / "strokes", 4, seed=0)
    (root / "mask").mkdir()
    for path in (root / "GT").iterdir():
        (root / "mask" / path.name).write_bytes(path.read_bytes())
    return DatasetConfig("scribbles", name="strokes", root=str(root))


def test_scribbles_want_a_loss_and_a_validation_set_that_fit(config: Config, scribbles: DatasetConfig) -> None:
    config.data.train = [scribbles]
    with pytest.raises(
        UserError, match=r"strokes has scribbles, and the loss weighted_iou_bce would take .* scribble$"
    ):
        training_sets(config)
    config.loss = LossConfig("scribble")
    with pytest.raises(UserError, match=r"strokes has scribbles, .* or data.holdout=0 and take the last checkpoint$"):
        training_sets(config)
    config.data.holdout = 0
    sets = training_sets(config)
    assert [len(pairs.pairs) for pairs in sets.train] == [4] and sets.val == []
    config.data.val, config.data.holdout = config.data.test, 0.2
    sets = training_sets(config)
    assert [len(pairs.pairs) for pairs in (*sets.train, *sets.val)] == [4, 12]
    config.data.val = [scribbles]
    with pytest.raises(UserError, match=r"^data.val: strokes has scribbles, which no saliency map can be scored by"):
        training_sets(config)
    with pytest.raises(UserError, match=r"^data.test: strokes has scribbles"):
        scored_sets([scribbles], config, "data.test")


def test_another_count_than_published_is_remarked_on(tmp_path: Path) -> None:
    write_pairs(tmp_path / "VT821", 3, seed=0)
    sets = find_sets([DatasetConfig("vt821")], Config(data=DataConfig(root=str(tmp_path))))
    assert sets.remarks == ["note: VT821 has 3 pairs, 821 as published"]


def test_sets_are_looked_up_with_the_models_modalities(tmp_path: Path, config: Config) -> None:
    root = write_pairs(tmp_path / "VT821", 3, seed=0)
    (root / "T").rename(root / "gone")
    config.data.root, config.data.train = str(tmp_path), [DatasetConfig("vt821")]
    with pytest.raises(UserError, match=r"^vt821: no folder of thermal images in "):
        training_sets(config)
    config.model.modalities = ["rgb"]
    assert all(list(pair.images) == ["rgb"] for found in training_sets(config).train for pair in found.pairs)
    config.model.modalities = ["rgb", "depth"]
    with pytest.raises(UserError, match=r"^vt821: has no depth images; it has rgb and thermal"):
        scored_sets(config.data.train, config, "data.test")
