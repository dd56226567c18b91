"""What the model needs of an image encoder and of the decoder that reads it: another backbone is one file.

The file registers one name in `ENCODERS`: what builds both, with their weights, from the model's config. Nothing else
of samsod knows which backbone it runs on. `samsod/modeling/sam2/` is the first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from samsod.config import ModelConfig
from samsod.modeling.encoder_from import load_backbone
from samsod.registry import ENCODERS

Beside = Callable[[int, Tensor], Tensor]
"""What is added beside the MLP of a block, from the block's index and its tokens after attention, `[B,h,w,d]` both."""

Size = tuple[int, int]
"""Height and width of the images in pixels."""


class Encoder(nn.Module, ABC):
    """Images to maps at a few stages, and those maps, of one modality or the sum of several, to a pyramid.

    Attributes:
        widths: Channels d of the tokens of each block, as its adapter meets them.
        stage_ends: Indices of the blocks after which modalities are fused; a ViT of one width may have any.
        stride: What the sides of images must be multiples of.
        origin: A line for the log on the file its weights were loaded from, if any.
        casts_alike: Whether its linear layers and convolutions all run under autocast, and nothing but they reads their
            weights, so that these may be held in the shorter type; see `SaliencyModel.cast_weights`.
    """

    widths: Sequence[int]
    stage_ends: Sequence[int]
    stride: int
    origin: str = ""
    casts_alike: bool = False

    def forward(self, images: Tensor, beside: Beside) -> list[Tensor]:
        """Images `[B,3,H,W]` to a map `[B,C,h,w]` per stage."""
        height, width = images.shape[-2:]
        tokens, maps = self.embed(images), []
        for index in range(len(self.widths)):
            tokens = self.block(index, tokens, beside, (height, width))
            if index in self.stage_ends:
                maps.append(self.stage_map(index, tokens, (height, width)))
        return maps

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Images `[B,3,H,W]` to the tokens that the first block reads, in whatever shape suits the encoder."""

    @abstractmethod
    def block(self, index: int, tokens: Tensor, beside: Beside, size: Size) -> Tensor:
        """The tokens that block `index` makes of those of the block before, which it leaves as they are.

        With x the tokens after its attention residual, without class tokens and the like, `[B,h,w,d]`, a block ends as
        x + MLP(LN(x)) + beside(index, x).
        """

    @abstractmethod
    def stage_map(self, index: int, tokens: Tensor, size: Size) -> Tensor:
        """The tokens that block `index`, one of `stage_ends`, made, to a map `[B,C,h,w]`."""

    @abstractmethod
    def pyramid(self, maps: Sequence[Tensor]) -> Any:
        """The stages' maps to what the decoder reads, maps as a rule."""

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """Its parts as the cost table lists them, together all of it."""

    def pretrained(self) -> list[nn.Module]:
        """What a file of weights gives, and `freeze_encoder` keeps as it is: all of it, unless a part is new."""
        return [self]


RunEncoder = Callable[[Encoder, Tensor, Beside], list[Tensor]]
"""Runs an encoder as its call does, from images `[B,3,H,W]` to a map `[B,C,h,w]` per stage."""


class Decoder(nn.Module, ABC):
    """A pyramid to a mask.

    Attributes:
        stride: How many pixels of an image one logit covers along each side.
        casts_alike: As of an `Encoder`.
    """

    stride: int
    casts_alike: bool = False

    @abstractmethod
    def forward(self, pyramid: Any) -> Tensor:
        """What `Encoder.pyramid` gives to logits `[B,1,H/stride,W/stride]`."""

    def unreachable(self) -> list[nn.Parameter]:
        """Parameters the logits do not depend on; they are frozen."""
        return []


def build_backbone(config: ModelConfig) -> tuple[Encoder, Decoder]:
    """The configured encoder and its decoder, with their weights when `weights` or `encoder_from` names a file.

    Raises:
        UserError: No such encoder, or the weights do not fit, or settings contradict each other.
    """
    encoder, decoder = ENCODERS.get(config.encoder.name)(config)
    if config.encoder_from:
        encoder.origin = load_backbone(encoder, decoder, config)
    return encoder, decoder
