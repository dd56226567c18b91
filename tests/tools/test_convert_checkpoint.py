"""tools/convert_checkpoint.py as a user runs it, and what it wrote tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from samsod import Predictor
from samsod.config import load_config
from samsod.data.decoding.images import read_saliency
from samsod.data.pictures import write_png
from samsod.engine.checkpoint import load_checkpoint
from samsod.modeling.released import load_released
from samsod.modeling.samsod import Samsod
from samsod.workflows import load_model, test
from tests.conftest import write_pairs
from tests.modeling.released import released_checkpoint, released_config
from tests.places import HANG, ROOT

test.__test__ = False  # type: ignore[attr-defined]

FOLDERS = {"rgb": "RGB", "thermal": "T"}
SMALL = [
    "model.trunk={embed_dim: 16, num_heads: 1}",
    "model.decoder_width=32",
    "model.image_size=64",
    "engine.device=cpu",
    "data.workers=0",
]


def convert(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "convert_checkpoint.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG)


def test_the_released_checkpoint_is_tested_and_predicts_like_one_of_ours(tmp_path: Path) -> None:
    torch.manual_seed(4)
    released, converted = tmp_path / "sam_rgbt.pth", tmp_path / "new" / "K.pt"
    torch.save(released_checkpoint(), released)
    done = convert("--released", released, "--output", converted, *SMALL)
    assert done.returncode == 0, done.stderr
    assert f"1,880 of the 1,882 tensors of {released} loaded, 2 are not used" in done.stdout
    config = load_config(
        ROOT / "configs" / "released.yaml", [*SMALL, f"data.test=[{{name: pairs, root: {tmp_path / 'pairs'}}}]"]
    )
    content = load_checkpoint(converted)
    model, expected = load_model(config, content, str(converted)), Samsod(released_config())
    load_released(expected, released)
    wanted = expected.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())
    assert content["released"]["file"] == "sam_rgbt.pth" and content["base"] is None
    pairs = write_pairs(tmp_path / "pairs", 2, seed=0)
    write_png(pairs / "T" / "001.png", np.random.default_rng(0).integers(0, 256, (30, 70), np.uint8))
    results = test(config, torch.device("cpu"), str(converted), tmp_path / "out")
    assert results["final"]["pairs"]["images"] == 2
    saved = [read_saliency(tmp_path / "out" / "maps" / "pairs" / f"{stem}.png") for stem in ("000", "001")]
    predictor = Predictor.from_checkpoint(converted, "cpu")
    files = {name: [pairs / folder / f"{stem}.png" for stem in ("000", "001")] for name, folder in FOLDERS.items()}
    for result, grey in zip(predictor.predict(**files), saved, strict=True):
        assert np.array_equal(result.grey(), grey) and grey.shape == (48, 48) and grey.std() > 1


def test_another_file_is_one_line(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    done = convert("--released", tmp_path / "other.pth", "--output", tmp_path / "K.pt", *SMALL)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "it has a" in done.stderr and not (tmp_path / "K.pt").exists()
