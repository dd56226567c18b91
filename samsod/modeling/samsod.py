"""SAMSOD: one frozen SAM2 encoder for both modalities, two sets of adapters, one shared mask decoder (paper Fig. 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.config import ModelConfig
from samsod.modeling.adapters import build_adapter
from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.modeling.sam2 import parts as sam2_parts
from samsod.registry import MODELS

FUSION, RGB, THERMAL = "fusion", "rgb", "thermal"


class Prediction(NamedTuple):
    """Logits `[B,1,H,W]` of the three streams; None for a stream that was not decoded."""

    fusion: Tensor | None = None
    rgb: Tensor | None = None
    thermal: Tensor | None = None

    def streams(self) -> dict[str, Tensor]:
        """The logits that were decoded, by stream."""
        return {name: logits for name, logits in self._asdict().items() if logits is not None}

    def saliency(self) -> Tensor:
        """The final saliency map in 0-1, `[B,1,H,W]`: sigmoid(P_F + P_R + P_T) (paper IV.B)."""
        return torch.sigmoid(torch.stack([logits.float() for logits in self.streams().values()]).sum(0))


class SaliencyModel(nn.Module, ABC):
    """What a model registered in `MODELS` offers to the trainer and the tools.

    Args:
        config: The model's settings.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, rgb: Tensor, thermal: Tensor | None = None) -> Prediction:
        """Predicts from RGB and thermal images, `[B,3,H,W]` each."""

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
        spec = sam2_parts.trunk_spec(config.size, config.trunk)
        self.trunk = sam2_parts.build_trunk(spec)
        self.neck = sam2_parts.build_neck(spec, config.decoder_width)
        self.mask_decoder = sam2_parts.build_mask_decoder(config.decoder_width)
        self.prompt = sam2_parts.EmptyPrompt(config.decoder_width)
        if config.weights:
            parts = {"trunk": self.trunk, "neck": self.neck, "mask_decoder": self.mask_decoder}
            sam2_parts.load_sam2_weights(parts, self.prompt, config.weights, config.size)
        self.rgb_adapters = self._adapters()
        self.thermal_adapters = self._adapters() if len(config.modalities) > 1 else None
        self._freeze()

    def forward(self, rgb: Tensor, thermal: Tensor | None = None) -> Prediction:
        """Predicts from one batch.

        Args:
            rgb: `[B,3,H,W]`, sides multiples of 32.
            thermal: `[B,3,H,W]`, thermal or depth; left out by a model of RGB alone.

        Returns:
            Logits `[B,1,H,W]` of the configured streams.

        Raises:
            ValueError: The sides are no multiples of 32, or a modality is missing.
        """
        if rgb.shape[-1] % 32 or rgb.shape[-2] % 32:
            raise ValueError(f"expected sides that are multiples of 32, found {tuple(rgb.shape[-2:])}")
        features_rgb = self.encode(rgb, self.rgb_adapters)
        if self.thermal_adapters is None:
            return Prediction(rgb=self.decode(features_rgb))
        if thermal is None:
            raise ValueError("expected a thermal image: model.modalities is [rgb, thermal]")
        features_thermal = self.encode(thermal, self.thermal_adapters)
        fused = [r + t for r, t in zip(features_rgb, features_thermal, strict=True)]
        if not self.config.unimodal_supervision:
            return Prediction(fusion=self.decode(fused))
        return Prediction(self.decode(fused), self.decode(features_rgb), self.decode(features_thermal))

    def encode(self, images: Tensor, adapters: nn.ModuleList) -> list[Tensor]:
        """Images `[B,3,H,W]` through trunk and one modality's adapters: maps `[B,C,h,w]` at strides 4, 8, 16, 32."""
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
        if self.thermal_adapters is None:
            return (RGB,)
        return (FUSION, RGB, THERMAL) if self.config.unimodal_supervision else (FUSION,)

    def parameter_groups(self) -> ParameterGroups:
        """The groups of gradient surgery and the losses that reach each (SPEC 3)."""
        modules: dict[str, tuple[list[nn.Module], tuple[str, ...]]] = {
            "rgb_adapter": ([self.rgb_adapters], (FUSION, RGB)),
            "thermal_adapter": ([self.thermal_adapters] if self.thermal_adapters else [], (FUSION, THERMAL)),
            "decoder": ([self.mask_decoder], (FUSION, RGB, THERMAL)),
            "encoder": ([self.trunk, self.neck], (FUSION, RGB, THERMAL)),
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
        adapters = [self.rgb_adapters] + ([self.thermal_adapters] if self.thermal_adapters else [])
        return {"trunk": [self.trunk], "neck": [self.neck], "decoder": [self.mask_decoder], "adapters": adapters}

    def saved_prefixes(self) -> tuple[str, ...]:
        """What a checkpoint must hold: all that was trained, and the encoder when no file can give it back."""
        trained = ("rgb_adapters.", "thermal_adapters.", "mask_decoder.", "prompt.")
        frozen_from_file = self.config.freeze_encoder and self.config.weights
        return trained if frozen_from_file else (*trained, "trunk.", "neck.")

    def _adapters(self) -> nn.ModuleList:
        return nn.ModuleList(build_adapter(self.config.adapter, block.dim_out) for block in self.trunk.blocks)

    def _freeze(self) -> None:
        for module in (self.trunk, self.neck):
            module.requires_grad_(not self.config.freeze_encoder)
        for parameter in sam2_parts.unreachable_parameters(self.mask_decoder):
            parameter.requires_grad_(False)
