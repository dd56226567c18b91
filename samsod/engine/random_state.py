"""The global random state: what parts of a user's own may draw from while training."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seeds Python's, NumPy's and PyTorch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of the global generators, of plain types and tensors alone."""
    state = current_state(device)
    kind, keys, *rest = state["numpy"]
    return {**state, "numpy": [kind, [int(key) for key in keys], *rest]}


def current_state(device: torch.device) -> dict[str, Any]:
    """The state of the global generators as they give it, which is quicker."""
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=True),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Takes up a state; that of a GPU is left out on a machine without one, and the other way round.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: It is no such state.
    """
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, np.array(words, np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
