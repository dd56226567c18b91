"""What many tests share: a micro config and a generated data set."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samsod.modeling  # noqa: F401  fills the registries
from samsod.config import Config, ModelConfig, TrainConfig
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.pictures import write_png
from samsod.engine.checkpoint import save_checkpoint
from samsod.modeling.samsod import Samsod
from samsod.utils.machine import give_freed_memory_back
from tests.places import ROOT

# Two threads wait for each other ten times as long as they work, once others run beside.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start

SIZE = 64
RGBT = ("rgb", "thermal")
Save = Callable[..., Path]
Children = Callable[[], set[BaseProcess]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real commands come first: they take longest, and no process is to be left alone with them at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(ROOT / "tests" / "tools"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test and its fixtures draw must not depend on the tests that ran before it in its process."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Once more: whether a module's fixture was set up for this test or for one before it."""
    _seed()


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def memory_given_back() -> Iterator[None]:
    """In and after every file of tests: glibc keeps freed memory until it is asked, and some tests ask it to."""
    give_freed_memory_back()
    yield
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture
def children() -> Children:
    """Gives the processes that were started since the test began and have not ended."""
    others = set(multiprocessing.active_children())
    return lambda: set(multiprocessing.active_children()) - others


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 128 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def model_config() -> ModelConfig:
    """A model of a second or less a step."""
    return ModelConfig(size="micro", decoder_width=32, image_size=SIZE, freeze_encoder=False)


def write_pairs(root: Path, count: int, seed: int, side: int = 48) -> Path:
    """Writes pairs whose object is bright in both modalities; returns `root`."""
    rng = np.random.default_rng(seed)
    for folder in ("RGB", "T", "GT"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        mask = np.zeros((side, side), np.uint8)
        top, left = rng.integers(4, side // 2, 2)
        mask[top : top + side // 3, left : left + side // 3] = 255
        noise = rng.integers(0, 80, (2, side, side, 3), dtype=np.uint8)
        write_png(root / "RGB" / f"{index:03d}.png", noise[0] + (mask // 2)[..., None])
        write_png(root / "T" / f"{index:03d}.png", noise[1] + (mask // 2)[..., None])
        write_png(root / "GT" / f"{index:03d}.png", mask)
    return root


@pytest.fixture
def pairs_folder(tmp_path: Path) -> Path:
    """Twelve generated pairs."""
    return write_pairs(tmp_path / "pairs", 12, seed=0)


@pytest.fixture
def config(tmp_path: Path, pairs_folder: Path, model_config: ModelConfig) -> Config:
    """A run of three steps on the generated pairs, two of which are held out."""
    pairs = DatasetConfig(family="folders", name="pairs", root=str(pairs_folder))
    data = DataConfig(train=[pairs], test=[replace(pairs, name="again")], holdout=0.2, workers=0)
    train = TrainConfig(batch_size=4, steps=3, log_every=1)
    return Config(output=str(tmp_path / "run"), model=model_config, data=data, train=train)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes the checkpoint of a model that was never trained, as training does."""

    def write(config: Config, name: str = "best.pt", **content: Any) -> Path:
        return write_checkpoint(tmp_path / name, config, **content)

    return write


def write_checkpoint(path: Path, config: Config, **content: Any) -> Path:
    """Writes the checkpoint of a model that was never trained, but whose adapters do something; returns `path`."""
    torch.manual_seed(0)
    model = Samsod(config.model)
    for parameter in model.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    stored = json.loads(json.dumps(asdict(config)))
    save_checkpoint(path, {"config": stored, "model": model.saved_state(), "base": None, **content})
    return path
