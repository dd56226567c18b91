"""configs/released.yaml: the released code's behaviour, switch by switch, where it differs from the defaults."""

from __future__ import annotations

from dataclasses import asdict

from samsod.config import load_config
from samsod.config.settings import settings
from tests.places import ROOT

SWITCHES = {
    "model.dense_prompt": False,
    "model.adapter.name": "decoupled_moe",
    "model.adapter.gate_pooling": "tokens",
    "model.adapter.gate_scope": "batch",
    "model.adapter.gate_start": "random",
    "model.adapter.gate_gradient": "none",
    "data.augment.photometric": "full_size",
    "data.augment.steps": 0.1,
    "data.holdout": 0,
    "data.sizes": "any",
    "train.best_metric": "MAE",
    "train.drop_last": False,
}


def test_what_it_changes_and_that_the_docs_say_so() -> None:
    released, large = (
        settings(asdict(load_config(ROOT / "configs" / f"{name}.yaml"))) for name in ("released", "large")
    )
    changed = {key: value for key, value in released.items() if value != large.get(key)}
    assert {key: changed.pop(key) for key in SWITCHES} == SWITCHES
    assert {key.split("[")[0] for key in changed} <= {"output", "data.val"}
    assert (released["test.batch_size"], released["test.resize"], released["test.normalize_maps"]) == (
        1,
        "logits",
        True,
    )
    docs = (ROOT / "docs" / "released.md").read_text()
    assert all(f"`{key}`" in docs for key in SWITCHES)
