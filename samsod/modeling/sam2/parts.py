"""The parts of SAM2 that samsod uses, and the loading of Meta's checkpoints: the only file that imports `sam2`.

What SAM2 has for videos (memory attention, memory encoder, object pointers) is never built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock, do_pool
from sam2.modeling.backbones.image_encoder import FpnNeck
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from sam2.modeling.position_encoding import PositionEmbeddingRandom
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor, nn

from samsod.config import TrunkConfig
from samsod.utils.errors import UserError
from samsod.utils.weights import copy_strictly, read_tensors

PARTS = {
    "trunk": "image_encoder.trunk.",
    "neck": "image_encoder.neck.",
    "mask_decoder": "sam_mask_decoder.",
}
"""Our parts, and the prefix each has in Meta's checkpoints."""

PROMPT_KEYS = {
    "no_mem_embed": "no_mem_embed",
    "no_mask_embed": "sam_prompt_encoder.no_mask_embed.weight",
    "position_matrix": "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
}
"""Buffers of `EmptyPrompt`, and the key each has in Meta's checkpoints."""

UNUSED_KEYS = (
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "mask_downsample.",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "sam_prompt_encoder.point_embeddings.",
    "sam_prompt_encoder.not_a_point_embed.",
    "sam_prompt_encoder.mask_downscaling.",
)
"""What a checkpoint may hold besides: SAM2's video memory, and its point, box and mask prompts."""


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


def build_trunk(spec: TrunkSpec) -> Hiera:
    """SAM2's image trunk; `[B,3,H,W]` becomes four maps at strides 4, 8, 16, 32."""
    return Hiera(**asdict(spec))


def build_neck(spec: TrunkSpec, width: int) -> FpnNeck:
    """SAM2's feature pyramid: four trunk maps become four maps of `width` channels."""
    return FpnNeck(
        position_encoding=_NoPositions(),
        d_model=width,
        backbone_channel_list=spec.channels,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )


class _NoPositions(nn.Module):
    """Stands where the neck makes positional encodings for the video memory, which nobody here reads."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_empty(0)


def build_mask_decoder(width: int) -> MaskDecoder:
    """SAM2's mask decoder with the settings of its released models and no stability fallback."""
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=8 * width, num_heads=8),
        transformer_dim=width,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
    )


def unreachable_parameters(decoder: MaskDecoder) -> list[nn.Parameter]:
    """Parameters mask token 0 does not depend on: IoU and object-score heads, the other hypernetworks."""
    heads = [decoder.iou_prediction_head, decoder.pred_obj_score_head, *decoder.output_hypernetworks_mlps[1:]]
    return [parameter for head in heads for parameter in head.parameters()]


class EmptyPrompt(nn.Module):
    """The constants SAM2's decoder gets when no prompt is given; frozen, so they are buffers.

    Args:
        width: Channels of the decoder.
    """

    no_mem_embed: Tensor
    no_mask_embed: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("no_mem_embed", nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.register_buffer("no_mask_embed", torch.randn(1, width))
        self.position = PositionEmbeddingRandom(width // 2)

    def positions(self, height: int, width: int) -> Tensor:
        """Positional encoding of the feature map, `[1,C,height,width]`, in float32 under autocast too."""
        with torch.autocast(self.no_mem_embed.device.type, enabled=False):
            return self.position((height, width)).unsqueeze(0)

    def sparse(self, batch: int) -> Tensor:
        """No points and no boxes for each of `batch` images, `[batch,0,C]`."""
        return self.no_mask_embed.new_empty(batch, 0, self.no_mask_embed.shape[1])


def decode(decoder: MaskDecoder, prompt: EmptyPrompt, pyramid: list[Tensor], dense_prompt: bool) -> Tensor:
    """SAM2's mask for an image without prompts, as its image predictor asks for it.

    Args:
        decoder: The mask decoder.
        prompt: The constants of the empty prompt.
        pyramid: The neck's maps at strides 4, 8 and 16, `[B,C,H/4,W/4]` and so on.
        dense_prompt: Add the no-mask embedding.

    Returns:
        Logits of mask token 0, `[B,1,H/4,W/4]`.
    """
    stride4, stride8, stride16 = pyramid
    image = stride16 + prompt.no_mem_embed.reshape(1, -1, 1, 1)
    dense = prompt.no_mask_embed.reshape(1, -1, 1, 1)
    masks, _, _, _ = decoder.predict_masks(
        image_embeddings=image,
        image_pe=prompt.positions(*image.shape[-2:]),
        sparse_prompt_embeddings=prompt.sparse(len(image)),
        dense_prompt_embeddings=dense if dense_prompt else torch.zeros_like(dense),
        repeat_image=False,
        high_res_features=[decoder.conv_s0(stride4), decoder.conv_s1(stride8)],
    )
    return masks[:, 0:1]


def embed_patches(trunk: Hiera, images: Tensor) -> Tensor:
    """Images `[B,3,H,W]` to the tokens the first block gets, `[B,H/4,W/4,C]`."""
    tokens = trunk.patch_embed(images)
    return tokens + trunk._get_pos_embed(tokens.shape[1:3])


def attention_residual(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """The first half of a Hiera block: shortcut plus (windowed, at a stage's start query-pooled) attention.

    Args:
        block: A block of SAM2's Hiera.
        x: Tokens `[B,h,w,C]`.

    Returns:
        Tokens `[B,h',w',C']`; halved sides and doubled channels at the start of stages 2 to 4.
    """
    normed = block.norm1(x)
    shortcut = x if block.dim == block.dim_out else do_pool(block.proj(normed), block.pool)
    window = block.window_size
    if window == 0:
        return shortcut + block.drop_path(block.attn(normed))
    windows, padded = window_partition(normed, window)
    attended = block.attn(windows)
    if block.q_stride:
        # Pooling the queries shrank every window, and with it the padded map.
        stride = block.q_stride[0]
        window, padded = window // stride, (padded[0] // stride, padded[1] // stride)
    return shortcut + block.drop_path(window_unpartition(attended, window, padded, shortcut.shape[1:3]))


def mlp_residual(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """What the second half of a Hiera block adds to `x`: MLP(LN2(x))."""
    return block.drop_path(block.mlp(block.norm2(x)))


def load_sam2_weights(parts: Mapping[str, nn.Module], prompt: EmptyPrompt, path: str | Path, size: str) -> None:
    """Loads Meta's checkpoint into the parts, strictly; only `UNUSED_KEYS` of the file are passed over.

    Args:
        parts: The modules named in `PARTS`.
        prompt: The constants of the empty prompt.
        path: A file like `sam2.1_hiera_large.pt`, a pickle `{"model": state_dict}`.
        size: The configured size, for the message when the file holds another one.

    Raises:
        UserError: One line: no such file, truncated, no SAM2 checkpoint, another size, or keys that do not fit.
    """
    state = _read_official(Path(path))
    _check_size(state, path, size)
    wanted = {
        f"{prefix}{key}": value for part, prefix in PARTS.items() for key, value in parts[part].state_dict().items()
    }
    wanted |= {key: _prompt_buffer(prompt, name) for name, key in PROMPT_KEYS.items()}
    used = {key: value for key, value in state.items() if key in wanted or not key.startswith(UNUSED_KEYS)}
    copy_strictly(wanted, used, f"{path}: does not fit SAM2 {size}")


def _prompt_buffer(prompt: EmptyPrompt, name: str) -> Tensor:
    if name == "position_matrix":
        return prompt.position.positional_encoding_gaussian_matrix
    return getattr(prompt, name)


def _read_official(path: Path) -> dict[str, Tensor]:
    expected = 'one of Meta\'s SAM2 files, a pickle {"model": state_dict}, for model.weights'
    content = read_tensors(path, expected)
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no SAM2 model; expected {expected}")
    return state


def _check_size(state: Mapping[str, Tensor], path: str | Path, size: str) -> None:
    prefix = PARTS["trunk"]
    patch = state.get(f"{prefix}patch_embed.proj.weight")
    blocks = {key[len(prefix) :].split(".")[1] for key in state if key.startswith(f"{prefix}blocks.")}
    if patch is None or not blocks:
        raise UserError(f"{path}: holds no SAM2 image encoder; expected SAM2 {size}")
    shape = (patch.shape[0], len(blocks))
    found = [name for name, spec in SIZES.items() if (spec.embed_dim, sum(spec.stages)) == shape]
    if size not in found:
        name = found[0] if found else f"an unknown size ({shape[0]} channels, {shape[1]} blocks)"
        raise UserError(f"{path}: holds SAM2 {name}, but model.size asks for {size}")
