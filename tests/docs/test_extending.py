"""The examples of docs/extending.md, run as a reader would: each file written, each command's settings trained with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samsod.config import load_config
from samsod.data.sources.families import FAMILIES, Family, add_family
from tests.conftest import write_pairs
from tests.pages import fenced
from tests.places import ROOT
from tests.training import run

TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = {section.split("\n", 1)[0]: section for section in TEXT.split("\n## ")[1:]}
SMALL = ["model.trunk={}", "model.decoder_width=32", "model.image_size=64", "train.batch_size=4", "train.steps=2"]
SMALL += ["data.workers=0", "data.holdout=0", "engine.device=cpu", "train.log_every=1", "output=run"]


@pytest.fixture(autouse=True)
def same_families_after() -> Iterator[None]:
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_trains_as_written(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "my_pairs", 8, seed=0)
    monkeypatch.chdir(tmp_path)
    for source in fenced(SECTIONS[title], "python"):
        (tmp_path / source.split("\n", 1)[0].removeprefix("# ")).write_text(source, encoding="utf-8")
    (command,) = fenced(SECTIONS[title], "sh")
    python, tool, option, config, *overrides = shlex.split(command.replace("\\\n", ""))
    assert (python, option) == ("python", "--config") and (ROOT / tool).is_file()
    trainer = run(load_config(ROOT / config, [*overrides, *SMALL]))
    assert trainer.step == 2
    for group in trainer.hook.groups:
        assert any(p.grad is not None and torch.count_nonzero(p.grad) for p in group.parameters), group.name


def test_every_part_that_can_be_registered_has_an_example() -> None:
    registered = {name for section in SECTIONS.values() for name in re.findall(r"^@(\w+)\.register", section, re.M)}
    assert registered == {"LOSSES", "ADAPTERS", "RULES", "ENCODERS"}


def test_a_familys_name_is_given_once() -> None:
    mine = Family("mine", ("mine",), {"": None}, ("rgb", "thermal"))
    add_family(mine)
    add_family(mine)
    with pytest.raises(ValueError, match="already called 'vt821'"):
        add_family(replace(mine, name="vt821"))
