from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from samsod.config.data_schema import ModalityConfig
from samsod.data.checking.inspection import inspect_pair, inspect_pairs
from samsod.data.sources.catalog import Pair
from samsod.utils.errors import Failure
from tests.conftest import Children
from tests.places import HANG

MakeSet = Callable[..., Path]
MODALITIES = {"rgb": ModalityConfig(), "thermal": ModalityConfig()}


def make_pairs(root: Path, stems: list[str], ending: str = ".jpg") -> list[Pair]:
    def pair(stem: str) -> Pair:
        images = {"rgb": root / "RGB" / f"{stem}{ending}", "thermal": root / "T" / f"{stem}.png"}
        return Pair(stem, images, root / "GT" / f"{stem}.png")

    return [pair(stem) for stem in stems]


@pytest.fixture
def pairs(tmp_path: Path, make_set: MakeSet) -> list[Pair]:
    stems = [f"{number:02}" for number in range(20)]
    root = make_set(tmp_path / "set", stems)
    (root / "T" / "07.png").write_bytes(b"")
    return make_pairs(root, stems)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_change_nothing_however_they_start(pairs: list[Pair], method: str, children: Children) -> None:
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        found = list(inspect_pairs(pairs, MODALITIES, 2))
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert found == list(inspect_pairs(pairs, MODALITIES, 1))
    assert [facts.stem for facts in found if facts.faults] == ["07"]
    left = children()
    for child in left:  # that was asked to end: a busy machine takes its time
        child.join(HANG)
    assert not any(child.is_alive() for child in left)


def test_a_killed_process_is_one_line_that_names_the_pair(pairs: list[Pair], children: Children) -> None:
    endless = pairs[5].images["rgb"].with_suffix(".fifo")
    os.mkfifo(endless)
    pairs[5] = replace(pairs[5], images={**pairs[5].images, "rgb": endless})
    facts = inspect_pairs(pairs, MODALITIES, 2)
    next(facts)
    started = sorted(children(), key=lambda child: child.pid or 0)
    for child in started:
        for number in (signal.SIGINT, signal.SIGTERM):  # as the whole group gets them
            os.kill(child.pid or 0, number)
    deadline = time.monotonic() + HANG
    while True:
        try:
            writer = os.open(endless, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:  # nobody reads it yet
            assert time.monotonic() < deadline
            time.sleep(0.01)
    os.kill(started[1].pid or 0, signal.SIGKILL)  # the pairs 4 to 7 are the second's
    with pytest.raises(Failure) as caught:
        list(facts)
    os.close(writer)
    killed = "a process that checks files was killed or crashed while it read the pair of"
    assert str(caught.value) == f"{killed} {endless}"
    assert not children()


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_files_with_an_orientation_tag(
    tmp_path: Path, make_set: MakeSet, tag: Callable[..., Path], ending: str
) -> None:
    root = make_set(tmp_path / "set", "ab", endings=(ending, ".png", ".png"))
    pair = make_pairs(root, ["a"], ending)[0]
    tag(pair.reference, 1)
    assert inspect_pair(pair, MODALITIES).tagged == ()
    make_set(tmp_path / "set", "ab", endings=(ending, ".png", ".png"))
    tag(pair.reference)
    facts = inspect_pair(pair, MODALITIES)
    assert facts.tagged == (pair.reference,) and not facts.faults
