"""SAMSOD: one frozen SAM2 encoder, a set of adapters per modality, one shared mask decoder (paper Fig. 2)."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.config import ModelConfig
from samsod.modeling.adapters import build_adapter
from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.modeling.sam2 import parts as sam2_parts
from samsod.registry import MODELS
from samsod.utils.errors import UserError

FUSION = "fusion"
"""The stream of all modalities together; the others go by their modality's name."""


class Prediction(NamedTuple):
    """Logits `[B,1,H,W]` by stream, one or more: `fusion` and one per modality."""

    streams: dict[str, Tensor]

    def logits(self) -> Tensor:
        """The sum of all streams in float32, `[B,1,H,W]`: P_F + Σ_m P_m (paper IV.B)."""
        return torch.stack([logits.float() for logits in self.streams.values()]).sum(0)

    def saliency(self) -> Tensor:
        """The final saliency map in 0-1, `[B,1,H,W]`: the sigmoid of `logits()`."""
        return torch.sigmoid(self.logits())


class SaliencyModel(nn.Module, ABC):
    """What a model registered in `MODELS` offers to the trainer and the tools.

    Args:
        config: The model's settings.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = tuple(config.modalities)

    @abstractmethod
    def forward(self, images: Mapping[str, Tensor]) -> Prediction:
        """Predicts from the images of every modality, `[B,3,H,W]` each, by name; other entries are ignored."""

    @abstractmethod
    def parameter_groups(self) -> ParameterGroups:
        """The groups of gradient surgery; together all that is trained."""

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules of each part, as the cost table lists them."""

    def saved_prefixes(self) -> tuple[str, ...]:
        """What of the state dict a checkpoint must hold; all of it unless a file can give the rest back."""
        return ("",)


def build_model(config: ModelConfig) -> SaliencyModel:
    """The configured model, with Meta's weights when `weights` names a file.

    Raises:
        UserError: No such model, or the weights do not fit.
    """
    return MODELS.get(config.name)(config)


@MODELS.register("samsod")
class Samsod(SaliencyModel):
    """The network of SPEC 1.

    Args:
        config: The model's settings.

    Raises:
        UserError: The weights do not fit, or settings contradict each other.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if taken := [name for name in self.modalities if hasattr(nn.ModuleDict(), name)]:
            raise UserError(f"model.modalities: PyTorch has another use for the name {taken[0]!r}; choose another")
        spec = sam2_parts.trunk_spec(config.size, config.trunk)
        self.trunk = sam2_parts.build_trunk(spec)
        self.neck = sam2_parts.build_neck(spec, config.decoder_width)
        self.mask_decoder = sam2_parts.build_mask_decoder(config.decoder_width)
        self.prompt = sam2_parts.EmptyPrompt(config.decoder_width)
        if config.weights:
            parts = {"trunk": self.trunk, "neck": self.neck, "mask_decoder": self.mask_decoder}
            sam2_parts.load_sam2_weights(parts, self.prompt, config.weights, config.size)
        self.adapters = nn.ModuleDict({name: self._adapters() for name in self.modalities})
        self._freeze()

    def forward(self, images: Mapping[str, Tensor]) -> Prediction:
        """Predicts from one batch.

        Args:
            images: `[B,3,H,W]` by modality, sides multiples of 32; other entries are ignored.

        Returns:
            Logits `[B,1,H,W]` of the configured streams.

        Raises:
            ValueError: A modality is missing, or the sides are no multiples of 32.
        """
        for name in self.modalities:
            if name not in images:
                raise ValueError(f"no image of the modality {name}: model.modalities is {list(self.modalities)}")
            if images[name].shape[-1] % 32 or images[name].shape[-2] % 32:
                raise ValueError(f"expected sides that are multiples of 32, found {tuple(images[name].shape[-2:])}")
        features = {name: self.encode(images[name], name) for name in self.modalities}
        if FUSION in self.loss_names():
            # Eq. 2, stage by stage.
            fused = [functools.reduce(torch.add, maps) for maps in zip(*features.values(), strict=True)]
            features = {FUSION: fused, **features}
        return Prediction({name: self.decode(features[name]) for name in self.loss_names()})

    def encode(self, images: Tensor, modality: str) -> list[Tensor]:
        """Images `[B,3,H,W]` through trunk and one modality's adapters: maps `[B,C,h,w]` at strides 4, 8, 16, 32."""
        adapters = self.adapters[modality].children()
        x = sam2_parts.embed_patches(self.trunk, images)
        features = []
        for index, (block, adapter) in enumerate(zip(self.trunk.blocks, adapters, strict=True)):
            x = sam2_parts.attention_residual(block, x)
            x = x + sam2_parts.mlp_residual(block, x) + self.config.adapter.scale * adapter(x)
            if index in self.trunk.stage_ends:
                features.append(x.permute(0, 3, 1, 2))
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """The trunk's four maps through neck and mask decoder: logits `[B,1,H,W]` in float32 (Eq. 2, 6)."""
        pyramid, _ = self.neck(features)
        logits = sam2_parts.decode(self.mask_decoder, self.prompt, pyramid[:3], self.config.dense_prompt)
        return F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)

    def loss_names(self) -> tuple[str, ...]:
        """The losses this model is trained with, in the order they are computed."""
        if len(self.modalities) == 1:
            return self.modalities
        return (FUSION, *self.modalities) if self.config.unimodal_supervision else (FUSION,)

    def parameter_groups(self) -> ParameterGroups:
        """The groups of gradient surgery and the losses that reach each (SPEC 3)."""
        every = (FUSION, *self.modalities)
        modules: dict[str, tuple[list[nn.Module], tuple[str, ...]]] = {
            **{f"{name}_adapter": ([adapters], (FUSION, name)) for name, adapters in self.adapters.items()},
            "decoder": ([self.mask_decoder], every),
            "encoder": ([self.trunk, self.neck], every),
        }
        groups = []
        for name, (parts, losses) in modules.items():
            parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
            reached_by = tuple(loss for loss in self.loss_names() if loss in losses)
            if parameters:
                groups.append(ParameterGroup(name, parameters, reached_by))
        return ParameterGroups(groups)

    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules of each part, as the cost table lists them."""
        adapters = list(self.adapters.values())
        return {"trunk": [self.trunk], "neck": [self.neck], "decoder": [self.mask_decoder], "adapters": adapters}

    def saved_prefixes(self) -> tuple[str, ...]:
        """What a checkpoint must hold: all that was trained, and the encoder when no file can give it back."""
        trained = ("adapters.", "mask_decoder.", "prompt.")
        frozen_from_file = self.config.freeze_encoder and self.config.weights
        return trained if frozen_from_file else (*trained, "trunk.", "neck.")

    def _adapters(self) -> nn.ModuleList:
        return nn.ModuleList(build_adapter(self.config.adapter, block.dim_out) for block in self.trunk.blocks)

    def _freeze(self) -> None:
        for module in (self.trunk, self.neck):
            module.requires_grad_(not self.config.freeze_encoder)
        for parameter in sam2_parts.unreachable_parameters(self.mask_decoder):
            parameter.requires_grad_(False)
