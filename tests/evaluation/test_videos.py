"""Maps of sets of videos lie as their frames do: `maps/SET/VIDEO/frame.png`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samsod.config import Config
from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.catalog import PairSet, find_set
from samsod.drawing.choice import find_images
from samsod.evaluation.maps.folder import MapsFolder
from samsod.evaluation.maps.results import summarise
from samsod.evaluation.maps.scoring import score_maps
from samsod.evaluation.maps.selected import find_method_maps
from samsod.evaluation.testing import run_test
from samsod.modeling.samsod import FINAL, Samsod
from samsod.utils.errors import UserError
from tests.conftest import RGBT, write_pairs


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two videos of two frames."""
    for seed, video in enumerate(("boat", "cat")):
        write_pairs(tmp_path / "films" / video, 2, seed)
    return tmp_path / "films"


def pairs_of(films: Path) -> PairSet:
    return find_set(DatasetConfig("videos", root=str(films), name="films"), "", RGBT)


def maps_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_maps_lie_as_the_frames_and_are_scored_so(config: Config, films: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, pairs, out = Samsod(config.model).eval(), pairs_of(films), tmp_path / "out"
    config = replace(config, test=replace(config.test, batch_size=4, contact_sheet=2))
    for _ in range(2):  # the second time they are its own
        results = run_test(model, [pairs], config, out)
    frames = [f"{video}/00{frame}.png" for video in ("boat", "cat") for frame in range(2)]
    assert maps_in(out / "maps" / "films") == frames
    assert json.loads((out / "maps" / ".films.json").read_text()) == frames
    for maps in (out / "maps", out / "maps" / "films"):
        found = find_method_maps({"ours": maps}, [pairs])
        scores = score_maps(found)
        assert list(scores["ours"]["films"]) == [name.removesuffix(".png") for name in frames]
        assert summarise(scores)["ours"]["films"] == results[FINAL]["films"]
    few = PairSet("films", pairs.pairs[1:3])
    chosen = find_method_maps({"ours": out / "maps"}, [few])
    assert [pair.stem for pair in chosen[0].pairs] == ["boat/001", "cat/000"]
    assert find_images([pairs], ["cat/001"])[0][1].stem == find_images([pairs], ["films/cat/001"])[0][1].stem


def test_what_lacks_a_map_is_named_by_video(films: Path, tmp_path: Path) -> None:
    for video in ("boat", "cat"):
        shutil.copytree(films / video / "GT", tmp_path / "method" / video)
    (tmp_path / "method" / "cat" / "001.png").unlink()
    pairs = pairs_of(films)
    with pytest.raises(UserError, match="method: no map for 1 images of films: cat/001"):
        find_method_maps({"method": tmp_path / "method"}, [pairs])
    (some,) = find_method_maps({"method": tmp_path / "method"}, [pairs], partial=True)
    assert [pair.stem for pair in some.pairs] == [pair.stem for pair in pairs.pairs][:-1]


def test_maps_of_other_videos_are_taken_away_and_strangers_stay(tmp_path: Path) -> None:
    folder = tmp_path / "maps" / "films"

    def test(*stems: str) -> list[str]:
        maps = MapsFolder(folder, stems)
        maps.prepare()
        for stem in stems:
            maps.save(stem, torch.zeros(4, 4, dtype=torch.uint8).numpy())
        maps.publish()
        maps.discard()
        return maps_in(folder)

    assert test("boat/0", "boat/1", "cat/0") == ["boat/0.png", "boat/1.png", "cat/0.png"]
    (folder / "cat" / "mine.txt").write_text("")
    assert test("boat/0", "dog/0") == ["boat/0.png", "cat/mine.txt", "dog/0.png"]
    assert test("cat/0", "plain") == ["cat/0.png", "cat/mine.txt", "plain.png"]
    assert sorted(path.name for path in folder.iterdir()) == ["cat", "plain.png"]
    (folder / "hen").write_text("")
    (folder / "cat" / "1.png").write_text("")
    with pytest.raises(UserError, match=r"cat/1\.png, hen would be replaced, which no test wrote"):
        test("cat/1", "hen/0")
    (tmp_path / "stranger.png").write_text("")
    (folder.parent / ".films.json").write_text('["../../stranger.png", "/etc/none", "cat/0.png", "a/b/c.png"]')
    (folder / "hen").unlink()
    assert test("hen/0") == ["cat/1.png", "cat/mine.txt", "hen/0.png", "plain.png"]
    assert (tmp_path / "stranger.png").exists()
