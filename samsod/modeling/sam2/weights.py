"""SAM2's weights, in Meta's files and in Hugging Face's: which of their tensors go where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from samsod.modeling.sam2 import hugging_face
from samsod.modeling.sam2.decoder import Sam2Decoder
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.sam2.specs import SIZES
from samsod.utils.errors import UserError
from samsod.utils.weights import copy_strictly, read_safetensors, read_tensors, shown_keys

OFFICIAL = ("tiny", "small", "base_plus", "large")
"""The sizes that Meta has released."""

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

UNUSED_KEYS: tuple[str, ...] = (
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


def load_weights(encoder: Sam2Encoder, decoder: Sam2Decoder, path: str | Path, size: str) -> str:
    """Loads a file of SAM2's weights, strictly; only what is listed as unused is passed over.

    Args:
        encoder: Where the image encoder goes.
        decoder: Where mask decoder and prompt constants go.
        path: Meta's file, like `sam2.1_hiera_large.pt`, a pickle `{"model": state_dict}`; or Hugging Face's
            `model.safetensors` of the same model.
        size: The configured size, for the message when the file holds another one.

    Returns:
        A line for the log: what was loaded, from which file, and how many tensors.

    Raises:
        UserError: One line: no such file, truncated, no SAM2 checkpoint, another size, or keys that do not fit; or
            safetensors is not installed.
    """
    state = _read(Path(path), size)
    wanted, unused, trunk, whose = meta_state(encoder, decoder), UNUSED_KEYS, TRUNK, "Meta's"
    if any(key.startswith(hugging_face.MARK) for key in state):
        trunk, unused, whose = hugging_face.trunk_prefix(state), hugging_face.UNUSED_KEYS, "Hugging Face's"
        wanted = {hugging_face.hugging_face_key(key, state): value for key, value in wanted.items()}
    _check_size(state, trunk, path, size)
    used = {key: value for key, value in state.items() if key in wanted or not key.startswith(unused)}
    copy_strictly(wanted, used, f"{path}: does not fit SAM2 {size}")
    passed_over = f", {len(state) - len(used)} more are not used" if len(state) > len(used) else ""
    return f"loaded SAM2 {size} from {path}, {whose} names: {len(used)} tensors{passed_over}"


def _read(path: Path, size: str) -> dict[str, Tensor]:
    expected = "a file of SAM2's weights for model.weights, Meta's .pt or Hugging Face's model.safetensors"
    if not path.exists():
        raise UserError(
            f"{path}: no such file; {_where_from(path, size) if size in OFFICIAL else f'expected {expected}'}"
        )
    if path.suffix == ".safetensors":
        return read_safetensors(path, expected)
    content = read_tensors(path, expected, mapped=True)
    state = content.get("model") if isinstance(content, dict) else None
    if isinstance(content, dict) and str(content.get("format")).startswith("samsod-"):
        raise UserError(f"{path}: is a checkpoint of samsod: set model.encoder_from to it, and leave model.weights out")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no SAM2 model; expected {expected}")
    return state


def _where_from(path: Path, size: str) -> str:
    """The official file of a size, and the command that downloads it to where `path` is."""
    names = [f"{generation}_hiera_{size}.pt" for generation in ("sam2.1", "sam2")]
    name = path.name if path.name in names else names[0]
    folder = "" if path.parent == Path() else f" --output {path.parent}"
    return f"SAM2 {size} is Meta's {name}: python tools/download_sam2.py {name}{folder}"


def _check_size(state: Mapping[str, Tensor], trunk: str, path: str | Path, size: str) -> None:
    patches = [
        state[key] for key in state if re.fullmatch(rf"{re.escape(trunk)}patch_embed\.proj(ection)?\.weight", key)
    ]
    blocks = {key[len(trunk) :].split(".")[1] for key in state if key.startswith(f"{trunk}blocks.")}
    if not patches or not blocks:
        raise UserError(
            f"{path}: holds no SAM2 image encoder; expected SAM2 {size}; it has {shown_keys(sorted(state))}"
        )
    shape = (patches[0].shape[0], len(blocks))
    found = [name for name, spec in SIZES.items() if (spec.embed_dim, sum(spec.stages)) == shape]
    if size not in found:
        name = found[0] if found else f"an unknown size ({shape[0]} channels, {shape[1]} blocks)"
        raise UserError(f"{path}: holds SAM2 {name}, but model.size asks for {size}")
