"""How Hugging Face's `model.safetensors` of `facebook/sam2*-hiera-*` names the tensors of Meta's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Collection

MARK = "vision_encoder."
"""How keys begin that Meta's checkpoints have not."""

BACKBONE = "vision_encoder.backbone."
"""Prefix of the trunk's keys; older files have `vision_encoder.` alone."""

_LAYERS = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^image_encoder\.trunk\.", BACKBONE),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
)
_POSITIONS = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")
"""The matrix of the positions: where transformers holds both as one tensor (4.56, 4.57), files have the first alone."""
_HEADS = re.compile(r"(_head|\.output_hypernetworks_mlps\.\d+)\.layers\.(\d)\.")

UNUSED_KEYS: tuple[str, ...] = (
    *_POSITIONS,
    "prompt_encoder.point_embed.",
    "prompt_encoder.not_a_point_embed.",
    "prompt_encoder.mask_embed.",
    "memory_attention.",
    "memory_encoder.",
    "memory_temporal_positional_encoding",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "object_pointer_proj.",
    "mask_downsample.",
    "occlusion_spatial_embedding_parameter",
    "temporal_positional_encoding_projection_layer.",
)
"""What a file may hold besides: the positions a second time, the video memory, and point, box and mask prompts."""


def trunk_prefix(keys: Collection[str]) -> str:
    """How the trunk's keys begin in a file of these keys."""
    return BACKBONE if any(key.startswith(BACKBONE) for key in keys) else MARK


def hugging_face_key(key: str, there: Collection[str] = ()) -> str:
    """The name here of the tensor that has the name `key` in Meta's checkpoints.

    Args:
        key: One of the keys of `meta_state`.
        there: The keys of the file, which differ a little between versions of transformers; none: as today's has them.
    """
    if key.startswith("sam_prompt_encoder.pe_layer."):
        return next((name for name in _POSITIONS if name in there), _POSITIONS[0])
    for pattern, name in _RENAMES:
        key = re.sub(pattern, name, key)
    key = _HEADS.sub(lambda found: f"{found[1]}.{_LAYERS[found[2]]}.", key)
    prefix = trunk_prefix(there) if there else BACKBONE
    return prefix + key.removeprefix(BACKBONE) if key.startswith(BACKBONE) else key
