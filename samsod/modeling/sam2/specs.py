"""The sizes of SAM2's Hiera trunk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from samsod.config import TrunkConfig
from samsod.utils.errors import UserError


@dataclass(frozen=True)
class TrunkSpec:
    """Shape of a Hiera trunk [SAM2 configs/sam2.1]."""

    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...] = (1, 2, 7, 2)
    global_att_blocks: tuple[int, ...] = (5, 7, 9)
    window_spec: tuple[int, ...] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)

    @property
    def channels(self) -> list[int]:
        """Channels of the four stages, deepest first, as the neck wants them."""
        return [self.embed_dim * 2**stage for stage in reversed(range(4))]


SIZES = {
    "micro": TrunkSpec(16, 1, (1, 1, 3, 1), (3,), (8, 4, 8, 4)),
    "tiny": TrunkSpec(),
    "small": TrunkSpec(stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13)),
    "base_plus": TrunkSpec(112, 2, (2, 3, 16, 3), (12, 16, 20), window_pos_embed_bkg_spatial_size=(14, 14)),
    "large": TrunkSpec(144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8)),
}
"""The four official sizes, and `micro` for training from scratch and for tests."""


def trunk_spec(size: str, overrides: TrunkConfig) -> TrunkSpec:
    """The size's trunk with the config's overrides.

    Raises:
        UserError: The overrides contradict each other.
    """
    changes: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in asdict(overrides).items() if v is not None
    }
    spec = replace(SIZES[size], **changes)
    depth = sum(spec.stages)
    if len(spec.stages) != 4 or len(spec.window_spec) != 4 or min(*spec.stages, *spec.window_spec) < 1:
        raise UserError("model.trunk: stages and window_spec need four positive numbers each")
    if min(spec.embed_dim, spec.num_heads) < 1 or spec.embed_dim % spec.num_heads:
        raise UserError(f"model.trunk: embed_dim {spec.embed_dim} is not a multiple of num_heads {spec.num_heads}")
    if not all(0 <= block < depth for block in spec.global_att_blocks):
        raise UserError(f"model.trunk: global_att_blocks {list(spec.global_att_blocks)} exceed the {depth} blocks")
    return spec
