"""Mixed precision: which parts of a forward pass run in a shorter type."""

from __future__ import annotations

import torch

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of `engine.precision`; with fp32 it changes nothing."""
    kind = _TYPES[precision]
    return torch.autocast(device.type, kind, enabled=kind is not torch.float32)
