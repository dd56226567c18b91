"""Meta's SAM2 checkpoints: which of their tensors go where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from samsod.modeling.sam2.decoder import Sam2Decoder
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.sam2.specs import SIZES
from samsod.utils.errors import UserError
from samsod.utils.weights import copy_strictly, read_tensors

TRUNK = "image_encoder.trunk."
"""Prefix of the trunk's keys in Meta's checkpoints."""

KEYS = {
    "trunk.": TRUNK,
    "neck.": "image_encoder.neck.",
    "mask_decoder.": "sam_mask_decoder.",
    "prompt.no_mem_embed": "no_mem_embed",
    "prompt.no_mask_embed": "sam_prompt_encoder.no_mask_embed.weight",
    "prompt.position.": "sam_prompt_encoder.pe_layer.",
}
"""How our keys of encoder and decoder begin, and Meta's."""

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


def meta_state(encoder: Sam2Encoder, decoder: Sam2Decoder) -> dict[str, Tensor]:
    """The tensors of encoder and decoder by their keys in Meta's checkpoints; they share their memory."""
    state = encoder.state_dict() | decoder.state_dict()
    return {
        theirs + key.removeprefix(ours): value
        for ours, theirs in KEYS.items()
        for key, value in state.items()
        if key.startswith(ours)
    }


def load_weights(encoder: Sam2Encoder, decoder: Sam2Decoder, path: str | Path, size: str) -> None:
    """Loads Meta's checkpoint, strictly; only `UNUSED_KEYS` of the file are passed over.

    Args:
        encoder: Where the image encoder goes.
        decoder: Where mask decoder and prompt constants go.
        path: A file like `sam2.1_hiera_large.pt`, a pickle `{"model": state_dict}`.
        size: The configured size, for the message when the file holds another one.

    Raises:
        UserError: One line: no such file, truncated, no SAM2 checkpoint, another size, or keys that do not fit.
    """
    state = _read(Path(path))
    _check_size(state, path, size)
    wanted = meta_state(encoder, decoder)
    used = {key: value for key, value in state.items() if key in wanted or not key.startswith(UNUSED_KEYS)}
    copy_strictly(wanted, used, f"{path}: does not fit SAM2 {size}")


def _read(path: Path) -> dict[str, Tensor]:
    expected = 'one of Meta\'s SAM2 files, a pickle {"model": state_dict}, for model.weights'
    content = read_tensors(path, expected)
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no SAM2 model; expected {expected}")
    return state


def _check_size(state: Mapping[str, Tensor], path: str | Path, size: str) -> None:
    patch = state.get(f"{TRUNK}patch_embed.proj.weight")
    blocks = {key[len(TRUNK) :].split(".")[1] for key in state if key.startswith(f"{TRUNK}blocks.")}
    if patch is None or not blocks:
        raise UserError(f"{path}: holds no SAM2 image encoder; expected SAM2 {size}")
    shape = (patch.shape[0], len(blocks))
    found = [name for name, spec in SIZES.items() if (spec.embed_dim, sum(spec.stages)) == shape]
    if size not in found:
        name = found[0] if found else f"an unknown size ({shape[0]} channels, {shape[1]} blocks)"
        raise UserError(f"{path}: holds SAM2 {name}, but model.size asks for {size}")
