"""Scores kept by content."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samsod.evaluation.maps import score_cache
from samsod.evaluation.maps import scoring as maps
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.maps.scoring import MapPair, MapSet, find_maps, score_maps
from samsod.evaluation.metrics.choice import QUICK, STANDARD
from samsod.utils.errors import UserError
from tests.evaluation.maps.test_scoring import GOLDEN, assert_same


@pytest.fixture
def edges(tmp_path: Path) -> list[MapSet]:
    """Five maps that may be changed."""
    shutil.copytree(GOLDEN / "soft" / "edges", tmp_path / "maps")
    shutil.copytree(GOLDEN / "truths" / "edges", tmp_path / "truths")
    return find_maps({"soft": tmp_path / "maps"}, {"edges": tmp_path / "truths"})


@pytest.fixture
def asked() -> list[tuple[str, ...]]:
    """The metrics that were computed instead of looked up."""
    return []


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, ...]]) -> list[str]:
    """The stems that were scored instead of looked up."""
    stems: list[str] = []
    score_pair = maps.score_pair

    def score(pair: MapPair, metrics: Sequence[str]) -> dict[str, np.ndarray]:
        stems.append(pair.stem)
        asked.append(tuple(metrics))
        return score_pair(pair, metrics)

    monkeypatch.setattr(maps, "score_pair", score)
    return stems


def assert_all_same(first: maps.Scores, second: maps.Scores) -> None:
    for stem, scores in first["soft"]["edges"].items():
        assert_same(scores, second["soft"]["edges"][stem])


def test_a_second_run_scores_nothing(edges: list[MapSet], scored: list[str], tmp_path: Path) -> None:
    plain = score_maps(edges)
    first = score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    del scored[:]
    second = score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    assert scored == []
    assert_all_same(first, plain)
    assert_all_same(second, plain)


def test_what_changed_is_scored_again(edges: list[MapSet], scored: list[str], tmp_path: Path) -> None:
    score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    black, border, _, small, _ = edges[0].pairs
    del scored[:]
    shutil.copy(GOLDEN / "close" / "edges" / "black.png", black.prediction)
    shutil.copy(GOLDEN / "truths" / "edges" / "pixel.png", tmp_path / "truths" / "pixel.png")  # the same bytes
    border.prediction.touch()
    small.truth.write_bytes(small.truth.read_bytes() + b"\n")  # other bytes
    assert_all_same(score_maps(edges, cache=ScoreCache(tmp_path / "cache")), score_maps(edges))
    assert sorted(scored[:2]) == ["black", "small"] and len(scored) == 2 + 5


def test_other_code_or_libraries_find_nothing(
    edges: list[MapSet], scored: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    del scored[:]
    monkeypatch.setattr(score_cache.np, "__version__", "0.0")
    score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    assert len(scored) == 5


@pytest.mark.parametrize(
    "name", ["file_bytes.py", "images.py", "standard.py", "distance.py", "weighted_f.py", "thinning.py"]
)
def test_a_change_of_any_code_that_reads_or_scores_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pair = MapPair("black", GOLDEN / "soft" / "edges" / "black.png", GOLDEN / "truths" / "edges" / "black.png")
    before = ScoreCache(tmp_path).key(pair.prediction, pair.truth)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path.name == name else b""))
    assert ScoreCache(tmp_path).key(pair.prediction, pair.truth) != before


def test_only_what_is_missing_is_computed_and_only_what_is_asked_for_is_given(
    edges: list[MapSet], scored: list[str], asked: list[tuple[str, ...]], tmp_path: Path
) -> None:
    cache, plain = ScoreCache(tmp_path / "cache"), score_maps(edges, metrics=["IoU", *STANDARD])
    del scored[:], asked[:]
    score_maps(edges, cache=cache, metrics=QUICK)
    every = score_maps(edges, cache=cache, metrics=["IoU", *STANDARD])
    assert asked == [QUICK] * 5 + [("IoU", "wF")] * 5
    assert_all_same(every, plain)
    assert list(every["soft"]["edges"]["small"]) == ["IoU", *STANDARD]
    assert list(score_maps(edges, cache=cache, metrics=QUICK)["soft"]["edges"]["small"]) == list(QUICK)
    assert len(scored) == 10


def test_what_metrics_look_at_is_in_the_name(edges: list[MapSet], asked: list[tuple[str, ...]], tmp_path: Path) -> None:
    cache, pair = ScoreCache(tmp_path / "cache"), edges[0].pairs[1]
    photo, other = pair.truth, edges[0].pairs[0].truth
    assert len({cache.key(pair.prediction, pair.truth, seen) for seen in (None, photo, other)}) == 3
    seen = [replace(edges[0], pairs=(replace(pair, photo=photo),))]
    first = score_maps(seen, cache=cache, metrics=["IoU"])["soft"]["edges"][pair.stem]
    assert_same(score_maps(edges, cache=cache, metrics=["IoU"])["soft"]["edges"][pair.stem], first)
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 5  # it does not look at it
    score_maps(seen, cache=cache, metrics=["CCM"])
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 6


def test_what_a_metric_that_has_changed_gave_counts_as_absent(
    edges: list[MapSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, pair = ScoreCache(tmp_path / "cache"), edges[0].pairs[0]
    key = cache.key(pair.prediction, pair.truth)
    cache.put(key, {"S": np.zeros(1), "gone": np.zeros(3), "MAE": np.zeros(2)})
    assert cache.get(key) == {"S": np.zeros(1)}


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None])
def test_damaged_files_count_as_absent_and_are_mended(
    edges: list[MapSet], scored: list[str], tmp_path: Path, damage: bytes | None
) -> None:
    plain = score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    for path in files:
        data = bytearray(path.read_bytes())
        data[500] ^= 1
        path.write_bytes(data if damage is None else damage)
    del scored[:]
    assert_all_same(score_maps(edges, cache=ScoreCache(tmp_path / "cache")), plain)
    assert len(scored) == 5
    assert_all_same(score_maps(edges, cache=ScoreCache(tmp_path / "cache")), plain)
    assert len(scored) == 5


def test_the_least_recently_used_go_first_and_half_written_ones_too(edges: list[MapSet], tmp_path: Path) -> None:
    scores = score_maps(edges)["soft"]["edges"]["small"]
    cache = ScoreCache(tmp_path / "cache", limit=2)
    keys = [f"{i:02x}" + "0" * 62 for i in range(4)]
    for age, key in enumerate(keys):
        cache.put(key, scores)
        os.utime(tmp_path / "cache" / key[:2] / key[2:], (age, age))
    (tmp_path / "cache" / "00" / "half.partial").write_bytes(b"")
    assert cache.get(keys[0])  # used now
    cache.prune()
    assert [bool(cache.get(key)) for key in keys] == [True, False, False, True]
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_what_cannot_be_scored_is_not_kept(edges: list[MapSet], tmp_path: Path) -> None:
    edges[0].pairs[0].prediction.write_bytes(b"damaged")
    for _ in range(2):
        with pytest.raises(UserError, match="not an image"):
            score_maps(edges, cache=ScoreCache(tmp_path / "cache"))
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 4


def test_a_cache_that_goes_away_costs_nothing_but_time(edges: list[MapSet], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert_all_same(score_maps(edges, cache=cache), score_maps(edges))
    with pytest.raises(UserError, match="is a file, expected a folder"):
        ScoreCache(tmp_path / "cache")


def test_all_values_come_back_to_the_last_bit(edges: list[MapSet], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "cache")
    for wf in (0.0, 1 / 3):
        scores = {**score_maps(edges)["soft"]["edges"]["border"], "wF": np.array([wf])}
        cache.put("ab" * 32, scores)
        assert_same(cache.get("ab" * 32), scores)
