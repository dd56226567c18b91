"""sam2's own random models, and their checkpoints in Meta's format."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from sam2.build_sam import build_sam2

SIDE = 512
OFFICIAL = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def make_official(size: str, generation: str = "sam2.1", device: str = "cpu") -> Any:
    """sam2's own random model of a size, with the settings of its image predictor."""
    torch.manual_seed(1)
    name = f"configs/{generation}/{generation}_hiera_{OFFICIAL[size]}.yaml"
    size_of_images = [f"++model.image_size={SIDE}"]  # its own 1024 takes a gigabyte more; no weight depends on it
    return build_sam2(name, None, device=device, apply_postprocessing=False, hydra_overrides_extra=size_of_images)


official = functools.lru_cache(1)(make_official)
"""Of `make_official` the last one, for tests that only read it."""


@functools.cache
def official_file(size: str, folder: Path, generation: str = "sam2.1") -> Path:
    path = folder / f"{generation}_hiera_{size}.pt"
    torch.save({"model": official(size, generation).state_dict()}, path)
    return path


def hugging_face_state(size: str, older: bool = False) -> dict[str, Any]:
    """sam2's own random model under the names it has in Hugging Face's files, written down apart from ours."""
    state = {}
    for key, value in official(size).state_dict().items():
        part, _, rest = key.partition(".")
        words = rest.split(".")
        if key.startswith("image_encoder.neck."):
            state[f"vision_encoder.neck.convs.{words[2]}.{words[4]}"] = value
        elif part == "image_encoder":
            names = {"norm1": "layer_norm1", "norm2": "layer_norm2"}
            words = [names.get(word, word) for word in words[1:]]
            if words[0] == "patch_embed":
                words[1] = "projection"
            if "mlp" in words:
                words[3:5] = [["proj_in", "proj_out"][int(words[4])]]
            state[".".join(["vision_encoder", *([] if older else ["backbone"]), *words])] = value
        elif part == "sam_mask_decoder":
            state[f"mask_decoder.{'.'.join(_decoder_words(words))}"] = value
    prompt = official(size).state_dict()
    state["no_memory_embedding"] = prompt["no_mem_embed"]
    state["prompt_encoder.no_mask_embed.weight"] = prompt["sam_prompt_encoder.no_mask_embed.weight"]
    positions = prompt["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    state["prompt_encoder.shared_embedding.positional_embedding"] = positions
    state["shared_image_embedding.positional_embedding"] = positions.clone()
    state["prompt_encoder.point_embed.weight"] = torch.zeros(4, 256)
    state["memory_attention.layer_norm.weight"] = torch.zeros(256)
    return state


def _decoder_words(words: list[str]) -> list[str]:
    if words[0] == "output_upscaling":
        return [{"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"}[words[1]], *words[2:]]
    heads = ("iou_prediction_head", "pred_obj_score_head", "output_hypernetworks_mlps")
    if words[0] in heads:
        at = words.index("layers")
        return [*words[:at], *[["proj_in"], ["layers", "0"], ["proj_out"]][int(words[at + 1])], *words[at + 2 :]]
    if "mlp" in words:
        at = words.index("mlp")
        return [*words[: at + 1], ["proj_in", "proj_out"][int(words[at + 2])], *words[at + 3 :]]
    names = {"out_proj": "o_proj", "norm_final_attn": "layer_norm_final_attn"}
    names |= {f"norm{n}": f"layer_norm{n}" for n in (1, 2, 3, 4)}
    return [names.get(word, word) for word in words]
