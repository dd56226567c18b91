"""A model that starts from the encoder and decoder of another one: `model.encoder_from`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from samsod.config import ModelConfig
from samsod.modeling.stored import base_setting, check_tensors, load_checkpoint
from samsod.utils.errors import UserError
from samsod.utils.trees import flat
from samsod.utils.weights import copy_strictly

SHAPING = ("model.encoder.", "model.size", "model.trunk.", "model.decoder_width")
"""How the settings begin that encoder and decoder are built from."""
PARTS = ("encoder", "decoder")
"""The first part of their tensors' keys in a checkpoint."""


def load_backbone(encoder: nn.Module, decoder: nn.Module, config: ModelConfig) -> str:
    """Loads encoder and decoder of the checkpoint `config.encoder_from`, strictly; its adapters are passed over.

    Args:
        encoder: The configured encoder.
        decoder: The configured decoder.
        config: The model's settings.

    Returns:
        A line for the log: what was loaded, from which file, and how many tensors.

    Raises:
        UserError: One line: no such file, damaged, no samsod checkpoint, one without an encoder, or one that does not
            fit.
    """
    path = config.encoder_from
    content = load_checkpoint(path, "; SAM2's own files are for model.weights")
    if base := content.get("base"):
        raise UserError(
            f"{path}: holds no encoder, as it kept that of {base['file']} (SHA-256 {base['sha256'][:12]}): set "
            f"{base_setting(content)} to that file; or, to start from this decoder too, model.encoder_from to the "
            f"DIR of tools/inspect_checkpoint.py {path} --export DIR --with-encoder"
        )
    stored = content.get("model", {})
    used = {key: value for key, value in stored.items() if key.partition(".")[0] in PARTS}
    modules = dict(zip(PARTS, (encoder, decoder), strict=True))
    wanted = {f"{part}.{key}": value for part in PARTS for key, value in modules[part].state_dict().items()}
    misfit = f"{path}: its encoder and decoder do not fit the configured ones"
    copy_strictly(wanted, used, misfit + _advice(content, config))
    check_tensors(content, path)
    left = len(stored) - len(used)
    passed_over = f", {left} of its adapters are not used" if left else ""
    return f"loaded encoder and decoder from the checkpoint {path}: {len(used)} tensors{passed_over}"


def _advice(content: Mapping[str, Any], config: ModelConfig) -> str:
    """Which settings to make as they were in the checkpoint's training."""
    trained = flat(content.get("config", {}).get("model", {}), "model.")
    here = flat(asdict(config), "model.")
    other = [f"{key}={trained[key]}" for key in trained if key.startswith(SHAPING) and trained[key] != here.get(key)]
    return f" (set {', '.join(other)}, as in its training)" if other else ""
