"""What every tool sets before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from samsod.config import Config, EngineConfig
from samsod.engine.launch import launch
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.workflows import make_trainer
from tests.training import run


@pytest.fixture
def tf32() -> Iterator[None]:
    """Leaves the process as it was."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_set_for_products_and_convolutions_alike_and_logged(config: Config, allowed: bool) -> None:
    config.engine = EngineConfig(tf32=allowed)
    with launch(config) as device:
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
        trainer, _ = make_trainer(config, device)
    assert "TF32" not in trainer._describe()
    trainer.device = torch.device("cuda")
    assert f"x cuda, fp32 (TF32 {'on' if allowed else 'off'}), pcgrad" in trainer._describe()


def test_gpus_have_gloo_beside_nccl_and_the_timeout_is_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: asked.append((backend, options)))
    for device in (torch.device("cuda", 0), torch.device("cpu")):
        with distributed.process_group(device, 90):
            pass
    (gpu, gpu_options), (cpu, cpu_options) = asked
    assert gpu == "cpu:gloo,cuda:nccl" and gpu_options["device_id"] == torch.device("cuda", 0) and cpu == "gloo"
    assert gpu_options["timeout"] == cpu_options["timeout"] == timedelta(minutes=90)


@pytest.mark.usefixtures("tf32")
def test_a_resumed_run_may_have_another_timeout_but_not_another_tf32(config: Config) -> None:
    config.train = replace(config.train, steps=1, eval_every=0)
    run(config)
    more = replace(config, train=replace(config.train, steps=2))
    with pytest.raises(UserError, match=r"engine\.tf32 was False, now True"):
        run(replace(more, engine=EngineConfig(tf32=True)))
    assert run(replace(more, engine=EngineConfig(timeout_minutes=5))).step == 2
    assert "step 2/2" in (Path(config.output) / "log.txt").read_text()


@pytest.mark.parametrize("minutes", [0, -1, 1e6])
def test_a_timeout_out_of_range(minutes: float) -> None:
    ((key, message),) = EngineConfig(timeout_minutes=minutes).check()
    assert key == "timeout_minutes" and "expected more than 0" in message
