"""tools/make_scribbles.py as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from samsod.config import load_config
from samsod.data.sources.catalog import find_set
from tests.places import HANG, ROOT

SCRIPT = ROOT / "tools" / "make_scribbles.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=HANG
    )


def test_what_it_prints_can_be_pasted_into_a_config(tmp_path: Path, pairs_folder: Path) -> None:
    places = ("--gt", pairs_folder / "GT", "--output", tmp_path / "out")
    done = run(*places, "--seed", 1, "--width", 2, "--modalities", "rgb")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12 masks: ") and (tmp_path / "out" / "scribbles.png").is_file()
    (tmp_path / "printed.yaml").write_text(done.stdout[done.stdout.index("in a config:\n") :].split("\n", 1)[1])
    config = load_config(tmp_path / "printed.yaml")
    pairs = find_set(config.data.train[0], config.data.root, config.model.modalities)
    assert config.model.modalities == ["rgb"] and list(pairs.pairs[0].images) == ["rgb"]
    assert config.loss.name == "scribble" and pairs.partial_labels and len(pairs.pairs) == 12
    again = run("--gt", pairs_folder / "GT", "--output", tmp_path / "out")
    assert again.returncode == 2 and len(again.stderr.splitlines()) == 1 and "exists" in again.stderr


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--width", "0"], ["--gt", "nowhere"]])
def test_mistakes_are_one_line(tmp_path: Path, pairs_folder: Path, options: list[str]) -> None:
    done = run("--gt", pairs_folder / "GT", "--output", tmp_path / "out", *options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith((f"error: {options[0]}", f"error: argument {options[0]}:"))
    assert not (tmp_path / "out").exists()
