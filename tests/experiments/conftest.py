"""A table of two rows on generated pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from samsod.experiments.plan import Run, plan_runs
from samsod.experiments.table import read_table

Plan = Callable[..., list[Run]]


@pytest.fixture
def table_file(tmp_path: Path, pairs_folder: Path) -> Path:
    """Two rows that differ in their adapters, on a model of a second a step."""
    pairs = f"[{{family: folders, name: pairs, root: {pairs_folder}}}]"
    (tmp_path / "base.yaml").write_text(
        "model: {size: micro, decoder_width: 32, image_size: 64, freeze_encoder: false}\n"
        f"data: {{train: {pairs}, test: {pairs}, holdout: 0, workers: 0}}\n"
        "train: {batch_size: 4, steps: 2, log_every: 1, checkpoint_steps: 1}\n"
        "engine: {device: cpu}\n"
    )
    (tmp_path / "plain.yaml").write_text("_base_: base.yaml\nmodel: {adapter: {name: vanilla}}\n")
    path = tmp_path / "table9.yaml"
    path.write_text(
        "title: Two adapters\nrows:\n"
        "  - {name: plain, label: plain one, config: plain.yaml}\n"
        "  - {name: split, label: split one, config: base.yaml}\n"
    )
    return path


@pytest.fixture
def plan(table_file: Path, tmp_path: Path) -> Plan:
    """The table's runs, with overrides and seeds."""

    def make(*overrides: str, seeds: Sequence[int] = (0,), overlays: Sequence[Path] = ()) -> list[Run]:
        table = read_table(table_file)
        return plan_runs(table, table_file, overlays, overrides, seeds, tmp_path / "runs")

    return make
