"""What the tests of prediction share: a checkpoint of a micro model that was never trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.config import Config
from samsod.engine.checkpoint import save_checkpoint
from samsod.modeling.samsod import Samsod

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes the checkpoint of a config, as training does."""

    def write(config: Config, name: str = "best.pt", **content: Any) -> Path:
        torch.manual_seed(0)
        model = Samsod(config.model)
        for parameter in model.adapters.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        stored = json.loads(json.dumps(asdict(config)))
        save_checkpoint(tmp_path / name, {"config": stored, "model": model.saved_state(), "base": None, **content})
        return tmp_path / name

    return write
