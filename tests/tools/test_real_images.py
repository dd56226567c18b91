"""The real commands on real images, when they are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.places import SHARED
from tests.tools.test_commands import MICRO, command

DATA = SHARED / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images at {DATA}")


@pytest.mark.parametrize(
    ("train", "test", "images"),
    [
        ("rgbflow/train", "rgbflow/test", 60),
        ("crackvid, list_file: {root}/crackvid/train.txt", "crackvid, list_file: {root}/crackvid/val.txt", 60),
        (
            "crackvid, folders: {{thermal: D}}, list_file: {root}/crackvid/train.txt",
            "crackvid, folders: {{thermal: D}}, list_file: {root}/crackvid/val.txt",
            60,
        ),
    ],
)
def test_train_and_test(tmp_path: Path, train: str, test: str, images: int) -> None:
    data = [
        f"data.{part}=[{{family: folders, name: real, root: {DATA}/{where.format(root=DATA)}}}]"
        for part, where in (("train", train), ("test", test))
    ]
    settings = [*MICRO, *data, f"output={tmp_path / 'run'}"]
    done = command("train_net", "--config", "configs/micro.yaml", *settings, "train.steps=30", "data.holdout=0")
    assert done.returncode == 0, done.stderr
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000030.pt"
    done = command(
        "test_net", "--config", "configs/micro.yaml", "--checkpoint", checkpoint, "--output", tmp_path, *settings
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "results.json").read_text())["real"]
    assert scores["images"] == images
    # Thirty steps do not make a good model, but one that beats a constant map (S about .45 on both).
    assert scores["S"] > 0.47 and scores["MAE"] < 0.4
