"""Folders of saliency maps: how they are paired, and what scoring them gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import read_saliency, read_truth
from samsod.data.pictures import write_png
from samsod.evaluation.maps import scoring as maps
from samsod.evaluation.maps.results import compare, name_folders, summarise, write_results
from samsod.evaluation.maps.scoring import MapSet, find_maps, score_maps
from samsod.evaluation.metrics.choice import columns_of
from samsod.evaluation.metrics.saliency import ImageScores, overall, score_image
from samsod.utils.errors import UserError

GOLDEN = Path(__file__).with_name("golden_maps")
TRUTHS = {dataset: GOLDEN / "truths" / dataset for dataset in ("Shapes-1", "edges")}
METHODS = {method: GOLDEN / method for method in ("close", "soft")}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy of the golden maps, to be spoilt."""
    return shutil.copytree(GOLDEN, tmp_path / "golden")


def assert_same(first: ImageScores, second: ImageScores) -> None:
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def faults(predictions: dict[str, Path], truths: dict[str, Path]) -> list[str]:
    with pytest.raises(UserError) as caught:
        find_maps(predictions, truths)
    return str(caught.value).splitlines()


def test_methods_times_sets_are_paired_by_stem() -> None:
    sets = find_maps(METHODS, TRUTHS)
    places = [(item.method, item.dataset) for item in sets]
    assert places == [("close", "Shapes-1"), ("close", "edges"), ("soft", "Shapes-1"), ("soft", "edges")]
    soft = sets[2]
    assert [pair.stem for pair in soft.pairs] == ["blob", "hole", "lines", "two_blobs"]
    assert soft.pairs[0].prediction == GOLDEN / "soft" / "shapes_1" / "blob.png"  # called a little otherwise
    assert soft.pairs[0].truth == GOLDEN / "truths" / "Shapes-1" / "blob.png"


def test_with_one_set_the_folder_itself_or_one_in_it_holds_the_maps() -> None:
    one = {"edges": TRUTHS["edges"]}
    assert find_maps({"m": GOLDEN / "soft" / "edges"}, one)[0].pairs == find_maps({"m": GOLDEN / "soft"}, one)[0].pairs


def test_missing_and_extra_maps_are_all_named(golden: Path) -> None:
    (golden / "close" / "edges" / "black.png").unlink()
    (golden / "soft" / "edges" / "black.png").rename(golden / "soft" / "edges" / "blank.png")
    truths = {dataset: golden / "truths" / dataset for dataset in TRUTHS}
    lines = faults({"close": golden / "close", "soft": golden / "soft"}, truths)
    assert lines == [
        f"{golden}/close/edges: no map for 1 of the 5 masks in {golden}/truths/edges: black",
        f"{golden}/soft/edges: no map for 1 of the 5 masks in {golden}/truths/edges: black",
        f"{golden}/soft/edges: 1 of its 5 maps have no mask in {golden}/truths/edges: blank",
    ]


def test_folders_that_are_not_there_or_empty_are_named(golden: Path) -> None:
    (golden / "empty").mkdir()
    truths = {"edges": golden / "truths" / "edges", "nowhere": golden / "nowhere", "empty": golden / "empty"}
    lines = faults({"soft": golden / "soft", "gone": golden / "gone"}, truths)
    assert [line.split(":")[0] for line in lines] == [
        f"{golden}/nowhere",
        f"{golden}/empty",
        f"{golden}/soft",
        f"{golden}/soft",
        f"{golden}/gone",
    ]
    assert "holds no image" in lines[1] and "no folder nowhere in it; there are: edges, shapes_1" in lines[2]
    alone = faults({"m": golden / "empty"}, {"edges": golden / "truths" / "edges"})
    assert len(alone) == 1 and "holds no image" in alone[0]


def test_two_files_of_one_stem_and_two_sets_of_one_name(golden: Path) -> None:
    (golden / "soft" / "edges" / "black.bmp").write_bytes(b"")
    truths = {"edges": golden / "truths" / "edges"}
    assert "two files of the same stem: black.bmp and black.png" in faults({"m": golden / "soft"}, truths)[0]
    (golden / "soft" / "Edges").mkdir()
    assert faults({"m": golden / "soft"}, truths)[0] == f"{golden}/soft: cannot choose between Edges and edges"
    both = {"VT-1": golden / "truths" / "edges", "vt1": golden / "truths" / "edges"}
    assert (
        faults({"m": golden / "close" / "edges"}, both)[0] == "the data sets VT-1 and vt1 cannot be told apart by name"
    )
    assert faults({}, {}) == [
        "no method to score: give at least one folder of saliency maps",
        "no data set to score on: give at least one folder of masks",
    ]


def test_scores_are_those_of_the_images_in_any_order_and_number_of_threads() -> None:
    sets = find_maps(METHODS, TRUTHS)
    alone = score_maps(sets, threads=1)
    for item in sets:
        assert list(alone[item.method][item.dataset]) == [pair.stem for pair in item.pairs]
        for pair in item.pairs:
            expected = score_image(read_saliency(pair.prediction), read_truth(pair.truth))
            assert_same(alone[item.method][item.dataset][pair.stem], expected)
    backwards = [MapSet(item.method, item.dataset, item.pairs[::-1]) for item in sets[::-1]]
    for method, by_set in score_maps(backwards, threads=3).items():
        for dataset, images in by_set.items():
            for stem, scores in images.items():
                assert_same(scores, alone[method][dataset][stem])


def test_faults_in_threads_are_gathered(golden: Path) -> None:
    write_png(golden / "soft" / "edges" / "black.png", np.zeros((5, 6), np.uint8))
    (golden / "soft" / "edges" / "white.png").write_bytes(b"not an image")
    sets = find_maps({"soft": golden / "soft"}, {"edges": golden / "truths" / "edges"})
    with pytest.raises(UserError) as caught:
        score_maps(sets, threads=2)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert f"{golden}/soft/edges/black.png: is 6x5, but its truth" in lines[0] and "is 38x25" in lines[0]
    assert f"{golden}/soft/edges/white.png: not an image" in lines[1]


def test_hundreds_of_faults_are_cut_short(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "FAULTS_SHOWN", 2)
    for path in (golden / "soft" / "edges").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        score_maps(find_maps({"soft": golden / "soft"}, {"edges": golden / "truths" / "edges"}), threads=1)
    assert str(caught.value).splitlines()[2] == "and 3 more maps like these"


def test_maps_equal_to_their_truths_are_perfect(tmp_path: Path) -> None:
    """To the epsilons; but for E, which the reference divides by N - 1 where the sum goes over N pixels."""
    for path in (GOLDEN / "truths" / "Shapes-1").iterdir():
        shutil.copy(path, tmp_path)
    (images,) = score_maps(find_maps({"m": tmp_path}, {"a": TRUTHS["Shapes-1"]}))["m"].values()
    for stem, scores in images.items():
        pixels = read_truth(TRUTHS["Shapes-1"] / f"{stem}.png").size
        columns = columns_of(scores)
        assert columns["MAE"] == 0 and columns["maxF"] == columns["adpF"] == 1
        assert columns["S"] == pytest.approx(1, abs=1e-8) and columns["wF"] == pytest.approx(1, abs=1e-8)
        assert columns["maxE"] == columns["adpE"] == pytest.approx(pixels / (pixels - 1), abs=1e-9)


def test_results_do_not_depend_on_the_order_of_images() -> None:
    (item,) = find_maps({"close": GOLDEN / "close"}, {"edges": TRUTHS["edges"]})
    forwards = summarise(score_maps([item]))["close"]["edges"]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(item.pairs))
        shuffled = MapSet(item.method, item.dataset, tuple(item.pairs[i] for i in order))
        assert summarise(score_maps([shuffled]))["close"]["edges"] == pytest.approx(forwards, rel=0, abs=1e-15)


def test_overall_is_the_count_weighted_mean() -> None:
    results = summarise(score_maps(find_maps(METHODS, TRUTHS)))["soft"]
    assert list(results) == ["Shapes-1", "edges", "Overall"]
    assert results["Overall"] == overall({name: results[name] for name in TRUTHS})
    assert results["Overall"]["images"] == 9


def test_folders_are_named_by_the_user_or_after_themselves(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    given = ["x=maps/one", "maps/two/", str(tmp_path / "a=b")]
    assert list(name_folders("--pred", given).items()) == [
        ("x", Path("maps/one")),
        ("two", Path("maps/two")),
        ("a=b", tmp_path / "a=b"),
    ]
    with pytest.raises(UserError) as caught:
        name_folders("--gt", ["=x", "x=", "a/gt", "b/gt", "Overall=x"])
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["--gt =x", "--gt x=", "--gt b/gt", "--gt Overall=x"]
    assert "give each a name: --gt NAME=b/gt" in lines[2]


def test_results_are_written_whole(tmp_path: Path) -> None:
    results = {"m": {"a": {"S": 0.5, "MAE": 0.25, "images": 3.0}}}
    write_results(tmp_path / "new" / "folder", results, compare(results))
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        f"results.{kind}" for kind in ("json", "csv", "md", "tex")
    }
