"""The model card, as the Hugging Face Hub reads it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from samsod.config import Config
from samsod.engine.checkpoint import load_checkpoint, save_checkpoint
from samsod.evaluation.inspection import describe
from samsod.evaluation.model_card import model_card

RESULTS = {
    "final": {"VT821": {"S": 0.91, "MAE": 0.02, "binIoU": 0.8, "images": 821}, "a | <b>": {"S": 0.5, "images": 2}}
}


@pytest.fixture
def card(config: Config, tmp_path: Path) -> Any:
    def make(results: Any = None, has_sam2: bool = False, **content: Any) -> tuple[dict[str, Any], str]:
        stored = {"config": asdict(config), "model": {"a": torch.zeros(2)}, "base": None, "step": 8}
        save_checkpoint(tmp_path / "k.pt", stored | content)
        description = describe(load_checkpoint(tmp_path / "k.pt"), tmp_path / "k.pt")
        text = model_card(description, "mine", has_sam2, results)
        _, front, body = text.split("---\n", 2)
        return yaml.safe_load(front), body

    return make


def test_front_matter_and_text(card: Any) -> None:
    front, body = card()
    assert front["library_name"] == "samsod" and front["tags"][-2:] == ["rgb", "thermal"]
    assert front["license"] == "other" and front["license_name"] and front["license_link"]
    assert "model-index" not in front and "## Scores\n\nNot known." in body
    for part in ("# mine\n", "- thermal.normalize: no", "- held out of train: 0.2", 'thermal="thermal.png"'):
        assert part in body
    assert "The network is SAM2's, which is Meta's, under Apache-2.0" in body and "terms of their own" in body


def test_parts_of_ones_own_are_named(card: Any, config: Config) -> None:
    config.imports = ["my_parts.py", "my_|rules"]
    _, body = card()
    assert r"parts of its maker's own, to be imported first: my_parts.py, my_\|rules." in body


def test_scores_that_are_known_are_told(card: Any) -> None:
    front, body = card(best=0.75, best_step=8)
    (result,) = front["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "S", "name": "S-measure", "value": 0.75}]
    assert result["dataset"]["name"].startswith("held out of pairs") and "S 0.7500, of these weights." in body
    front, body = card(best=0.75, best_step=4)
    assert "model-index" not in front and "S 0.7500, of the weights of step 4, which are not these." in body
    front, body = card(RESULTS)
    results = front["model-index"][0]["results"]
    assert [item["dataset"] for item in results] == [
        {"type": "vt821", "name": "VT821"},
        {"type": "a-b", "name": "a | <b>"},
    ]
    assert "| MAE↓ | binIoU↑ |" in body and "| 0.0200 | 0.8000 |" in body
    assert "| VT821 | 821 | 0.9100 | - |" in body and r"| a \| &lt;b> | 2 | 0.5000 |" in body


def test_whose_weights_they_are(card: Any) -> None:
    base = {"file": "sam2.1_hiera_tiny.pt", "size": "tiny", "sha256": "ab`|\n# c"}
    _, body = card(base=base, has_sam2=True)
    assert "These weights began with SAM2's, which are Meta's" in body and "weights=..." in body
    assert "\n# c" not in body and "ab'" in body
    _, body = card(released={"file": "sam_rgbt.pth", "sha256": "ab"}, has_sam2=True)
    assert "Converted from `sam_rgbt.pth`, which the authors of SAMSOD released without a licence" in body
