"""The command line of tools/predict.py; what it does is tested in tests/prediction."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from samsod.config import Config
from samsod.config.command_line import OneLineParser, named_options
from samsod.prediction.videos import Video
from tests.conftest import Save
from tests.places import HANG, ROOT


def test_a_folder_of_pairs_from_the_command_line(config: Config, save: Save, tmp_path: Path) -> None:
    root, out = Path(config.data.test[0].root), tmp_path / "out"
    (root / "RGB" / "004.png").write_bytes(b"")
    images = ["--rgb", root / "RGB", f"--thermal={root / 'T'}"]
    command = [sys.executable, ROOT / "tools" / "predict.py", "--checkpoint", save(config), *images, "--output", out]
    extra = ["--masks", "otsu", "--overlays", "--skip-bad", "--batch-size", "4"]
    extra += ["--side-by-side", "--video", str(out / "film.avi"), "--video-of", "side-by-side", "--fps", "5"]
    done = subprocess.run(list(map(str, [*command, *extra])), capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == f"11 images predicted; they are in {out}" and "004.png: the file is empty" in rest[-2]
    assert rest[-1] == f"11 frames filmed; they are in {out / 'film.avi'}"
    assert all(len(list((out / kind).iterdir())) == 11 for kind in ("maps", "masks", "overlays", "side_by_side"))
    film = Video(out / "film.avi")
    assert (film.length, film.rate) == (11, 5)
    assert not done.stderr


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--rgb", "a", "--near_ir=b=c"], {"rgb": "a", "near_ir": "b=c"}),
        (["--rgb"], "found --rgb"),
        (["--rgb", "--thermal", "x"], "found --rgb"),
        (["a"], "found a"),
        (["rgb=a"], "found rgb=a; did you mean --rgb a?"),
        (["--rgb", "a", "--rgb", "b"], "--rgb is there twice"),
    ],
)
def test_options_by_modality(
    words: list[str], options: dict[str, str] | str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = OneLineParser(prog="predict")
    if isinstance(options, dict):
        assert named_options(parser, words) == options
        return
    with pytest.raises(SystemExit) as stop:
        named_options(parser, words)
    assert stop.value.code == 2 and options in capsys.readouterr().err
