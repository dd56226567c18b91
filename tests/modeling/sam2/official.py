"""sam2's own random models, and their checkpoints in Meta's format."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from sam2.build_sam import build_sam2

OFFICIAL = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


@functools.lru_cache(2)  # the large one alone takes a gigabyte
def official(size: str, generation: str = "sam2.1") -> Any:
    """sam2's own random model of a size, with the settings of its image predictor."""
    torch.manual_seed(1)
    name = f"configs/{generation}/{generation}_hiera_{OFFICIAL[size]}.yaml"
    return build_sam2(name, None, device="cpu", apply_postprocessing=False)


@functools.cache
def official_file(size: str, folder: Path, generation: str = "sam2.1") -> Path:
    path = folder / f"{generation}_hiera_{size}.pt"
    torch.save({"model": official(size, generation).state_dict()}, path)
    return path
