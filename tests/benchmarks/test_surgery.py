from __future__ import annotations

import importlib.util

import pytest
import torch

from samsod.benchmarks import surgery
from samsod.benchmarks.step import synthetic_trainer
from samsod.benchmarks.surgery import OURS, TORCHJD, merged, surgery_works, torchjd_pcgrad
from samsod.config import Config

needs_torchjd = pytest.mark.skipif(importlib.util.find_spec("torchjd") is None, reason="torchjd is not installed")


@needs_torchjd
def test_both_merge_alike(config: Config) -> None:
    """torchjd's PCGrad gives a sum where ours gives a mean; of two rows neither depends on an order."""
    hook = synthetic_trainer(config, torch.device("cpu")).trainer.hook
    for rows in hook.rows.by_group:
        rows.normal_(generator=torch.Generator().manual_seed(2))
        rows[1] -= 0.5 * rows[0]
    aggregate = torchjd_pcgrad()
    assert aggregate is not None
    rows = hook.rows.by_group[0]
    ours, theirs = merged(hook, hook.groups[0].name, rows), aggregate(rows) / 2
    assert not torch.allclose(ours, rows.mean(0), atol=1e-3), "nothing to project"
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_every_group_with_several_rows_is_merged(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(surgery, "torchjd_pcgrad", lambda: lambda rows: seen.append(len(rows)))
    works = surgery_works(synthetic_trainer(config, torch.device("cpu")).trainer.hook)
    works[TORCHJD]()
    gradients = works[OURS]()
    assert seen == [2, 2, 3, 3] and len(gradients) == 4  # type: ignore[arg-type]


def test_without_torchjd_only_ours(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(surgery.importlib, "import_module", missing)
    assert surgery_works(synthetic_trainer(config, torch.device("cpu")).trainer.hook).keys() == {OURS}
