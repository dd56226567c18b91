"""State dicts with the names and shapes of the authors' released checkpoint, and random values."""

from __future__ import annotations

import torch
from torch import Tensor

from samsod.config import AdapterConfig, ModelConfig, TrunkConfig
from samsod.modeling.sam2.weights import meta_state
from samsod.modeling.samsod import Samsod

SMALL = TrunkConfig(embed_dim=16, num_heads=1)
"""As many blocks as the large trunk has, with few channels."""
RANGES = ((0, 1, 1), (2, 7, 2), (8, 43, 4), (44, 47, 8))
"""First and last block of each stage of the large trunk, and its channels as multiples of the first stage's."""


def released_config(trunk: TrunkConfig = SMALL, width: int = 32) -> ModelConfig:
    adapter = AdapterConfig("decoupled_moe", gate_pooling="tokens", gate_scope="batch", gate_gradient="none")
    return ModelConfig(
        size="large", trunk=trunk, decoder_width=width, image_size=64, adapter=adapter, dense_prompt=False
    )


def adapter_tensors(dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one adapter's tensors."""
    return {
        **{f"{gate}.0.weight": (2, dim) for gate in ("router", "router_2")},
        **{f"{gate}.0.bias": (2,) for gate in ("router", "router_2")},
        **{f"{branch}.down_proj.weight": (32, dim) for branch in ("adaptmlp", "adaptmlp1")},
        **{f"{branch}.down_proj.bias": (32,) for branch in ("adaptmlp", "adaptmlp1")},
        **{f"{branch}.up_proj.weight": (dim, 32) for branch in ("adaptmlp", "adaptmlp1")},
        **{f"{branch}.up_proj.bias": (dim,) for branch in ("adaptmlp", "adaptmlp1")},
    }


def released_adapters(embed_dim: int) -> dict[str, Tensor]:
    """The adapters of 48 blocks and two modalities."""
    return {
        f"{form.format(first, last)}.{block}.{name}": 0.3 * torch.randn(shape)
        for form in ("rgb{}_{}", "depth{}_{}d")
        for first, last, factor in RANGES
        for block in range(last - first + 1)
        for name, shape in adapter_tensors(factor * embed_dim).items()
    }


def released_checkpoint() -> dict[str, Tensor]:
    """All of it, on few channels."""
    model = Samsod(released_config())
    sam2 = meta_state(model.encoder, model.decoder)  # type: ignore[arg-type]
    video = {"memory_encoder.fuser.layers.0.gamma": torch.zeros(2), "maskmem_tpos_enc": torch.zeros(7, 1, 1, 2)}
    state = {f"model.{key}": value.clone() for key, value in {**sam2, **video}.items()}
    return state | released_adapters(16)
