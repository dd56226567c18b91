"""Groups of images, videos, names with a prefix or suffix, and the comparison of two methods."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import read_saliency, read_truth
from samsod.evaluation.maps.files import Files
from samsod.evaluation.maps.groups import drawn_units, find_groups, find_videos, group_scores, per_video, video_scores
from samsod.evaluation.maps.naming import named_files
from samsod.evaluation.maps.paired import check_pair, paired_csv, paired_differences, paired_table
from samsod.evaluation.maps.results import per_image_csv, summarise
from samsod.evaluation.maps.scoring import Scores, find_maps, score_maps
from samsod.evaluation.metrics.choice import STANDARD
from samsod.evaluation.metrics.saliency import SaliencyMetrics
from samsod.evaluation.metrics.subject import CURVE
from samsod.utils.errors import UserError
from tests.evaluation.maps.test_scoring import GOLDEN, METHODS, TRUTHS

MORE = (*STANDARD, "IoU", "BER", "HCE")


@pytest.fixture(scope="module")
def scores() -> Scores:
    return score_maps(find_maps(METHODS, TRUTHS), metrics=MORE)


def lines(error: pytest.ExceptionInfo[UserError]) -> list[str]:
    return str(error.value).splitlines()


def test_a_groups_scores_are_those_of_its_images_alone(scores: Scores, tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("# challenge\nsmall.png\n\npixel\nsmall\n", encoding="utf-8")
    sets = find_maps(METHODS, TRUTHS)
    groups = find_groups([f"edges:small={tmp_path / 'small.txt'}"], sets)
    assert groups[0].stems == ("small", "pixel")
    results = summarise(scores, group_scores(scores, groups))
    assert list(results["soft"]) == ["Shapes-1", "edges", "Overall", "edges:small"]
    alone = SaliencyMetrics()
    alone.extend(scores["soft"]["edges"][stem] for stem in ("small", "pixel"))
    assert results["soft"]["edges:small"] == alone.result()
    assert results["soft"]["Overall"]["images"] == 9


def test_what_is_wrong_with_groups_is_all_named(tmp_path: Path) -> None:
    sets = find_maps(METHODS, TRUTHS)
    for name, text in (("some", "small\nsmal\nblob\n"), ("empty", "# nothing\n"), ("good", "small\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    given = [f"edges:{name}={tmp_path / name}" for name in ("some", "empty", "gone", "binary", "good", "good")]
    with pytest.raises(UserError) as caught:
        find_groups([*given, "x", f"x={tmp_path / 'good'}", f"Edges:x={tmp_path / 'good'}"], sets)
    found = lines(caught)
    assert found[0] == f"{tmp_path}/some: 2 of 3 names are no image of edges: smal, blob"
    assert "lists no name" in found[1] and "No such file" in found[2] and "not a text file" in found[3]
    assert "there is a group edges:good already" in found[4] and "expected NAME=LIST" in found[5]
    assert "say which data set's: SET:NAME=LIST" in found[6] and "did you mean 'edges'" in found[7]
    assert len(found) == 8
    (alone,) = find_groups([f"x={tmp_path / 'good'}"], sets[1:2])
    assert alone.label == "edges:x"


def test_a_prefix_and_a_suffix_are_taken_off(tmp_path: Path) -> None:
    for path in (GOLDEN / "soft" / "edges").iterdir():
        shutil.copy(path, tmp_path / f"m_{path.stem}_sal.png")
        (tmp_path / f"m_{path.stem}_edge.png").write_bytes(b"other")
    given = named_files("--pred", [f"soft={tmp_path},prefix=m_,suffix=_sal", f"{tmp_path},suffix=_sal.png"])
    assert given["soft"] == Files(tmp_path, "m_", "_sal") and given[tmp_path.name].suffix == "_sal.png"
    plain = find_maps({"soft": GOLDEN / "soft" / "edges"}, {"edges": TRUTHS["edges"]})
    (renamed,) = find_maps({"soft": given["soft"]}, {"edges": TRUTHS["edges"]})
    assert [pair.stem for pair in renamed.pairs] == [pair.stem for pair in plain[0].pairs]
    assert set(given[tmp_path.name].by_stem(tmp_path)) == {f"m_{pair.stem}" for pair in renamed.pairs}
    with pytest.raises(UserError, match="no image in it is called x_NAME_sal"):
        Files(tmp_path, "x_", "_sal").by_stem(tmp_path)
    shutil.copy(tmp_path / "m_small_sal.png", tmp_path / "m_small_sal.bmp")
    with pytest.raises(UserError, match=r"two files of the same stem: m_small_sal\.bmp and m_small_sal\.png"):
        given["soft"].by_stem(tmp_path)
    with pytest.raises(UserError, match="at most once each"):
        named_files("--gt", ["x=y,prefix=a,prefix=b"])
    with pytest.raises(UserError, match=r"no 'sufix' \(did you mean 'suffix'\?\); known: prefix, suffix"):
        named_files("--pred", ["x=y,sufix=a"])
    odd = tmp_path / "a,suffix=b"
    odd.mkdir()
    assert named_files("--gt", [f"x={odd}", str(odd)]) == {"x": Files(tmp_path / "a", suffix="b"), odd.name: Files(odd)}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of three and two frames; the masks of the second lie a folder deeper."""
    for video, inner, frames in (("one", "", ("black", "border", "pixel")), ("two", "GT", ("small", "white"))):
        for kind, below, source in (("gt", inner, TRUTHS["edges"]), ("maps", "", GOLDEN / "soft" / "edges")):
            folder = tmp_path / kind / video / below
            folder.mkdir(parents=True)
            for frame in frames:
                shutil.copy(source / f"{frame}.png", folder)
    return tmp_path


def test_videos_count_alike_whatever_their_length(videos: Path) -> None:
    (found,) = find_maps({"soft": videos / "maps"}, {"edges": videos / "gt"})
    assert [pair.stem for pair in found.pairs] == ["one/black", "one/border", "one/pixel", "two/small", "two/white"]
    scores = score_maps([found], metrics=[*STANDARD, "IoU"])
    means = video_scores(scores, find_videos([found]))
    results = summarise(scores, per_video(means))["soft"]
    assert list(results) == ["edges", "edges per video"] and results["edges per video"]["images"] == 2
    frames = scores["soft"]["edges"]
    halves = [[frames[stem] for stem in frames if stem.startswith(video)] for video in ("one", "two")]
    curve = np.mean([np.mean([image["F"] for image in half], axis=0) for half in halves], axis=0)
    assert results["edges per video"]["maxF"] == pytest.approx(curve[:CURVE].max(), abs=1e-12)
    mae = np.mean([np.mean([image["MAE"] for image in half]) for half in halves])
    assert results["edges per video"]["MAE"] == pytest.approx(mae, abs=1e-12) != results["edges"]["MAE"]
    iou = np.mean([np.mean([image["IoU"] for image in half], axis=0) for half in halves], axis=0)
    assert results["edges per video"]["binIoU"] == pytest.approx(iou[-1], abs=1e-12)
    drawn = drawn_units({"a": scores["soft"], "b": scores["soft"]}, {"a": means["soft"], "b": means["soft"]})
    assert {one.dataset for one in paired_differences(drawn, ("a", "b"), 5)} == {"edges per video"}
    assert list(drawn["a"]["edges per video"]) == ["one", "two"]
    (videos / "maps" / "one" / "black.png").unlink()
    with pytest.raises(UserError, match=r"no map for 1 of the 5 masks in .*: one/black"):
        find_maps({"soft": videos / "maps"}, {"edges": videos / "gt"})
    shutil.copytree(videos / "maps", videos / "all" / "Edges")
    with pytest.raises(UserError, match="1 of the 5 masks"):  # the set's own folder, in which it lacks too
        find_maps({"soft": videos / "all"}, {"edges": videos / "gt"})


def test_flat_names_are_of_videos_when_that_is_said(tmp_path: Path) -> None:
    for kind, source in (("gt", TRUTHS["edges"]), ("maps", GOLDEN / "soft" / "edges")):
        (tmp_path / kind).mkdir()
        for name, frame in (("a_b_1", "black"), ("a_b_2", "pixel"), ("c_1", "small")):
            shutil.copy(source / f"{frame}.png", tmp_path / kind / f"{name}.png")
    sets = find_maps({"soft": tmp_path / "maps"}, {"edges": tmp_path / "gt"})
    assert find_videos(sets) == {}
    assert find_videos(sets, by_name=True) == {"edges": {"a_b_1": "a_b", "a_b_2": "a_b", "c_1": "c"}}
    with pytest.raises(UserError, match="of which video are blob, hole, lines of Shapes-1"):
        find_videos(find_maps(METHODS, TRUTHS), by_name=True)


def test_images_are_found_for_the_metrics_that_look_at_them() -> None:
    sets = find_maps({"soft": METHODS["soft"]}, {"edges": TRUTHS["edges"]}, {"any": TRUTHS["edges"]})
    assert [pair.photo for pair in sets[0].pairs] == [pair.truth for pair in sets[0].pairs]
    with pytest.raises(UserError, match="no image for 5 masks of edges"):
        find_maps({"soft": METHODS["soft"]}, {"edges": TRUTHS["edges"]}, {"any": TRUTHS["Shapes-1"]})
    with pytest.raises(UserError, match="CCM: looks at the images themselves, which nobody named"):
        score_maps(find_maps(METHODS, TRUTHS), metrics=["IoU", "CCM"])


def columns_of(scores: Scores, method: str, stems: list[str]) -> dict[str, float]:
    metrics = SaliencyMetrics()
    metrics.extend(scores[method]["edges"][stem] for stem in stems)
    return metrics.result()


def test_paired_differences_are_those_of_resampled_data_sets(scores: Scores) -> None:
    found = paired_differences(scores, ("close", "soft"), resamples=150, seed=3)
    assert found == paired_differences(scores, ("close", "soft"), resamples=150, seed=3)
    assert found != paired_differences(scores, ("close", "soft"), resamples=150, seed=4)
    results = summarise(scores)
    by_place = {(one.dataset, one.metric): one for one in found}
    assert {place[0] for place in by_place} == {"Shapes-1", "edges", "Overall"}
    for (dataset, metric), one in by_place.items():
        assert one.first == pytest.approx(results["close"][dataset][metric], abs=1e-12)
        assert one.second == pytest.approx(results["soft"][dataset][metric], abs=1e-12)
        assert one.low <= one.high
    # The same draws, with the images themselves put together anew.
    generator = np.random.default_rng(3)
    draws = []
    for dataset in TRUTHS:
        stems = list(scores["close"][dataset])
        shares = np.full(len(stems), 1 / len(stems))
        draws.append([generator.multinomial(len(stems), shares, size=size) for size in (100, 50)])
    stems = list(scores["close"]["edges"])
    differences = []
    for counts in np.concatenate(draws[1]):
        chosen = [stem for stem, count in zip(stems, counts, strict=True) for _ in range(count)]
        close, soft = (columns_of(scores, method, chosen) for method in ("close", "soft"))
        differences.append([close[metric] - soft[metric] for metric in ("maxF", "minBER", "HCE", "wF")])
    low, high = np.percentile(differences, (2.5, 97.5), axis=0)
    for i, metric in enumerate(("maxF", "minBER", "HCE", "wF")):
        assert by_place["edges", metric].low == pytest.approx(low[i], abs=1e-12)
        assert by_place["edges", metric].high == pytest.approx(high[i], abs=1e-12)


def test_runs_are_drawn_in_pairs_beside_the_images(scores: Scores) -> None:
    # Three runs of two methods: the same maps, each run with an image's curves put in the place of another's.
    runs: Scores = {}
    for method in ("close", "soft"):
        images = scores[method]["edges"]
        for i in range(3):
            others = [*images.values()][i:] + [*images.values()][:i]
            runs[f"{method} {i}"] = {"edges": {**images, "pixel": others[0]}, "Shapes-1": scores[method]["Shapes-1"]}
    pair = [[f"{method} {i}" for i in range(3)] for method in ("close", "soft")]
    found = paired_differences(runs, pair, resamples=30, seed=5)
    by_place = {(one.dataset, one.metric): one for one in found}
    assert {place[0] for place in by_place} == {"Shapes-1", "edges", "Overall"}
    one = by_place["edges", "maxF"]
    stems = list(scores["close"]["edges"])
    alone = [[columns_of(runs, name, stems)["maxF"] for name in side] for side in pair]
    assert one.each == pytest.approx([first - second for first, second in zip(*alone, strict=True)], abs=1e-12)
    assert one.first == pytest.approx(np.mean(alone[0]), abs=1e-12) and len(set(one.each)) == 3
    # The same draws: the runs first, once for all sets, then the images of each set.
    generator = np.random.default_rng(5)
    drawn_runs = generator.multinomial(3, np.full(3, 1 / 3), size=30)
    drawn = {
        name: generator.multinomial(len(images), np.full(len(images), 1 / len(images)), size=30)
        for name, images in runs["close 0"].items()
    }
    differences = []
    for counts, of_runs in zip(drawn["edges"], drawn_runs, strict=True):
        chosen = [stem for stem, count in zip(stems, counts, strict=True) for _ in range(count)]
        values = [[columns_of(runs, name, chosen)["maxF"] for name in side] for side in pair]
        differences.append(sum(n * (values[0][i] - values[1][i]) for i, n in enumerate(of_runs)) / 3)
    assert (one.low, one.high) == pytest.approx(tuple(np.percentile(differences, (2.5, 97.5))), abs=1e-12)


def test_the_better_method_is_told_where_the_interval_leaves_no_doubt(scores: Scores) -> None:
    twice: Scores = {"a": scores["close"], "b": scores["close"], "c": scores["soft"]}
    assert all(one.better is None and one.low == one.high == 0 for one in paired_differences(twice, ("a", "b"), 20))
    found = {one.metric: one for one in paired_differences(scores, ("close", "soft"), 200) if one.dataset == "Shapes-1"}
    assert found["MAE"].better == 0 and found["MAE"].high < 0 < found["S"].low and found["S"].better == 0
    names = ("close", "soft")
    text = paired_table([found["MAE"], found["S"]], names, ["MAE"])
    assert len(text.splitlines()) == 3 and text.splitlines()[2].endswith("close")
    (row,) = csv.DictReader(io.StringIO(paired_csv([found["S"]], names)))
    assert float(row["close"]) == found["S"].first and row["better"] == "close"
    with pytest.raises(UserError, match=r"no method is called 'clos' \(did you mean 'close'\?\)"):
        check_pair(names, ("clos", "soft"))
    with pytest.raises(UserError, match="are one method"):
        check_pair(names, ("soft", "soft"))


def test_every_image_has_its_line(scores: Scores) -> None:
    rows = list(csv.DictReader(io.StringIO(per_image_csv(scores))))
    assert len(rows) == 2 * 9 and list(rows[0])[:4] == ["method", "set", "image", "S"]
    row = next(row for row in rows if (row["method"], row["set"], row["image"]) == ("soft", "edges", "small"))
    alone = SaliencyMetrics(MORE)
    alone.step(read_saliency(GOLDEN / "soft" / "edges" / "small.png"), read_truth(TRUTHS["edges"] / "small.png"))
    assert {name: float(row[name]) for name in list(row)[3:]} == {
        name: value for name, value in alone.result().items() if name != "images"
    }
