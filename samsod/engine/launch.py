"""What every tool does first: user modules, this rank's device, TF32, memory, the process group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

import samsod.modeling
import samsod.surgery.rules  # noqa: F401  both fill the registries
from samsod.config import Config
from samsod.registry import import_user_modules
from samsod.utils import distributed
from samsod.utils.machine import keep_freed_memory
from samsod.utils.precision import set_tf32


@contextmanager
def launch(config: Config) -> Iterator[torch.device]:
    """Prepares this process for a config and gives its device.

    Raises:
        UserError: A user module cannot be imported, or the device is not there.
    """
    import_user_modules(config.imports)
    device = distributed.pick_device(config.engine.device)
    set_tf32(config.engine.tf32)
    if device.type == "cpu":
        keep_freed_memory()
    with distributed.process_group(device, config.engine.timeout_minutes):
        yield device
