"""Mixed precision: which parts of a forward pass run in a shorter type."""

from __future__ import annotations

import torch

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""By `engine.precision`, what most of a forward pass computes in."""


def set_tf32(allowed: bool) -> None:
    """Says once and for all whether this process's GPUs may use TF32, in matrix products and convolutions alike."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast context of `engine.precision`; with fp32 it changes nothing."""
    kind = TYPES[precision]
    return torch.autocast(device.type, kind, enabled=kind is not torch.float32)
