"""What is said about a checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.config import Config
from samsod.config.data_schema import ModalityConfig
from samsod.engine.checkpoint import load_checkpoint, save_checkpoint
from samsod.evaluation.inspection import as_text, describe
from samsod.utils.errors import UserError
from samsod.utils.weights import file_digest


@pytest.fixture
def content(config: Config) -> dict[str, Any]:
    data = replace(config.data, modalities={"thermal": ModalityConfig(invert=True, over_exposure=0.5)})
    train = replace(config.train, best_metric="MAE")
    return {
        "config": asdict(replace(config, data=data, train=train)),
        "model": {"a": torch.zeros(3, 4), "b": torch.zeros(5)},
        "base": {"file": "sam2.1_hiera_tiny.pt", "size": "tiny", "sha256": "ab"},
        "step": 8,
        "best": -0.25,
        "best_step": 4,
    }


def described(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    save_checkpoint(path, content)
    result = describe(load_checkpoint(path), path)
    assert json.loads(json.dumps(result)) == result
    return result


def test_everything_is_told(tmp_path: Path, content: dict[str, Any], pairs_folder: Path) -> None:
    path = tmp_path / "k.pt"
    told = described(path, content)
    assert told["file"]["sha256"] == file_digest(path) and told["file"]["bytes"] == path.stat().st_size
    model = told["model"]
    assert (model["size"], model["image_size"], model["modalities"]) == ("micro", 64, ["rgb", "thermal"])
    assert model["adapter.name"] == "decoupled"
    assert (model["parameters in the file"], model["tensors in the file"]) == (17, 2)
    assert told["preprocessing"]["rgb"]["normalize"] is True and told["preprocessing"]["rgb"]["scale"] == "cut"
    thermal = told["preprocessing"]["thermal"]
    assert thermal["invert"] is True and thermal["normalize"] is False and "over_exposure" not in thermal
    assert told["data"]["train"] == [f"pairs ({pairs_folder})"] and told["data"]["held out of train"] == 0.2
    assert told["best"] == {"metric": "MAE", "score": 0.25, "step": 4, "this file": False}
    assert told["base"]["file"] == "sam2.1_hiera_tiny.pt" and told["training"]["step"] == 8
    assert told["versions"]["torch"] == torch.__version__
    text = as_text(told)
    for line in ("  modalities: rgb, thermal", "  score: 0.25", "  thermal.invert: yes", "released: none"):
        assert line in text.splitlines()


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    told = described(tmp_path / "k.pt", {"model": {}, "base": None, "config": {}})
    assert told["best"] is None and told["base"] is None and told["training"]["step"] is None
    assert told["model"]["size"] == "large" and told["data"]["train"] == []
    assert "best: none" in as_text(told).splitlines()


@pytest.mark.parametrize("data", [{"modalities": ["thermal"]}, {"train": 5}, {"train": ["a"]}])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, content: dict[str, Any], data: dict[str, Any]) -> None:
    content["config"]["data"] |= data
    with pytest.raises(UserError, match="its config is none of samsod's") as caught:
        described(tmp_path / "k.pt", content)
    assert "\n" not in str(caught.value)


def test_what_strangers_wrote_cannot_forge_lines(tmp_path: Path, content: dict[str, Any]) -> None:
    content["versions"] = {"torch": "2\nbest\n  score: 1"}
    assert "best\n  score: 1" not in as_text(described(tmp_path / "k.pt", content))
