"""SAM2 as a backbone: its image encoder and its mask decoder, with its released weights."""

from __future__ import annotations

from samsod.config import ModelConfig
from samsod.modeling.sam2.decoder import Sam2Decoder
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.sam2.specs import trunk_spec
from samsod.modeling.sam2.weights import load_weights
from samsod.registry import ENCODERS
from samsod.utils.errors import UserError


@ENCODERS.register("sam2")
def build_sam2(config: ModelConfig) -> tuple[Sam2Encoder, Sam2Decoder]:
    """Encoder and decoder of `model.size`, with the weights of `model.weights` when it names a file.

    Raises:
        UserError: The weights do not fit, or settings contradict each other.
    """
    if config.encoder.options:
        raise UserError(f"model.encoder.options: sam2 takes none, found {', '.join(config.encoder.options)}")
    encoder = Sam2Encoder(trunk_spec(config.size, config.trunk), config.decoder_width)
    decoder = Sam2Decoder(config.decoder_width, config.dense_prompt)
    if config.weights:
        encoder.origin = load_weights(encoder, decoder, config.weights, config.size)
    return encoder, decoder
