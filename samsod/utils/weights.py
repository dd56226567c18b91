"""Weights in strangers' files: read without running code, and loaded strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samsod.utils.errors import UserError

SHOWN = 8
"""How many keys of a kind a message names."""


def read_tensors(path: str | Path, expected: str) -> Any:
    """What a PyTorch file holds, of plain types and tensors alone, on the CPU.

    Args:
        path: The file.
        expected: What it should have been, for the message.

    Raises:
        UserError: One line: no such file, or truncated, or not of PyTorch's, or it would run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {expected}") from None
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged, or no checkpoint ({reason}); expected {expected}") from None


def copy_strictly(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], misfit: str) -> None:
    """Copies `state` into the tensors `wanted`.

    Raises:
        UserError: One line, `misfit` and the keys that are missing, unexpected or of another shape; nothing is copied.
    """
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(state.keys() - wanted.keys())
    reshaped = [
        f"{key} is {list(state[key].shape)}, expected {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    faults = [f"{len(keys)} {kind} ({_shown(keys)})" for kind, keys in kinds.items() if keys]
    if faults:
        raise UserError(f"{misfit}: {'; '.join(faults)}")
    with torch.no_grad():
        for key, value in wanted.items():
            value.copy_(state[key])


def _shown(keys: Sequence[str]) -> str:
    more = f", and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
