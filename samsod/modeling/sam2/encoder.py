"""SAM2's image encoder: Hiera trunk and feature pyramid. What SAM2 has for videos is never built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.modeling.backbone import Beside, Encoder, Size
from samsod.modeling.products import quicken
from samsod.modeling.sam2.attention import WindowAttention, max_pool
from samsod.modeling.sam2.lateral import Lateral
from samsod.modeling.sam2.specs import TrunkSpec


class Sam2Encoder(Encoder):
    """Trunk and neck of one size.

    Args:
        spec: Shape of the trunk.
        width: Channels of the pyramid.
    """

    stride = 32
    casts_alike = True

    def __init__(self, spec: TrunkSpec, width: int) -> None:
        super().__init__()
        self.trunk = Hiera(**asdict(spec))
        self.trunk.attention = WindowAttention()
        quicken(self.trunk)
        self.neck = FpnNeck(
            position_encoding=_NoPositions(),
            d_model=width,
            backbone_channel_list=spec.channels,
            fpn_top_down_levels=[2, 3],
            fpn_interp_model="nearest",
        )
        self.widths = tuple(block.dim_out for block in self.trunk.blocks)
        self.stage_ends = tuple(self.trunk.stage_ends)
        self._table: tuple[tuple[object, ...], Tensor, list[Tensor]] | None = None

    def embed(self, images: Tensor) -> Tensor:
        """Images `[B,3,H,W]` to tokens `[B,H/4,W/4,C]`."""
        # Channels last, or the blocks of the first stage would read and write tokens of scattered channels.
        x = self.trunk.patch_embed(images.contiguous(memory_format=torch.channels_last))
        return x + self.positions(*x.shape[1:3])

    def block(self, index: int, tokens: Tensor, beside: Beside, size: Size) -> Tensor:
        """Tokens `[B,h,w,C]` to `[B,h',w',C']`; halved sides and doubled channels at the start of stages 2 to 4."""
        block = self.trunk.blocks[index]
        normed = block.norm1(tokens)
        shortcut = tokens if block.dim == block.dim_out else max_pool(block.proj(normed), block.q_stride)
        x = shortcut + block.drop_path(self.trunk.attention(block, normed))
        return x + block.drop_path(block.mlp(block.norm2(x))) + beside(index, x)

    def stage_map(self, index: int, tokens: Tensor, size: Size) -> Tensor:
        """Tokens `[B,h,w,C]` to `[B,C,h,w]`; the four maps are at strides 4, 8, 16, 32."""
        return tokens.permute(0, 3, 1, 2)

    def positions(self, height: int, width: int) -> Tensor:
        """The trunk's positions, `[1,height,width,C]`: a bicubic enlargement, kept while size and weights are the same.

        It is made anew where it is trained, and where a graph is recorded, which it must be part of.
        """
        made_of = self.trunk.pos_embed, self.trunk.pos_embed_window
        recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if recorded or any(part.requires_grad or part.is_inference() for part in made_of):
            made: Tensor = self.trunk._get_pos_embed((height, width))
            return made
        weights = ((part.data_ptr(), part._version, part.device, part.dtype) for part in made_of)
        key = (height, width, *weights)
        if self._table is None or self._table[0] != key:
            with torch.inference_mode(False), torch.no_grad():  # training, too, may use it
                # The weights are held on to, so that no others can come to lie at their address.
                self._table = key, self.trunk._get_pos_embed((height, width)), [part.detach() for part in made_of]
        return self._table[1]

    def pyramid(self, maps: Sequence[Tensor]) -> tuple[Lateral, Lateral, Tensor]:
        """The trunk's four maps to three of `width` channels, at strides 4, 8, 16; see `Lateral`."""
        coarsest, stride16, stride8, stride4 = (layer.conv for layer in self.neck.convs)
        enlarged = F.interpolate(coarsest(maps[3]).float(), scale_factor=2.0)
        return Lateral(maps[0], stride4), Lateral(maps[1], stride8), stride16(maps[2]) + enlarged

    def parts(self) -> dict[str, nn.Module]:
        """Its parts as the cost table lists them."""
        return {"trunk": self.trunk, "neck": self.neck}


class _NoPositions(nn.Module):
    """Stands where the neck makes positional encodings for the video memory, which nobody here reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_empty(0)
