"""What the adapters keep: the high activations of the foreground and the low ones of the background (paper Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from samsod.config import AdapterConfig
from samsod.modeling.adapters import DecoupledAdapter, VanillaAdapter
from samsod.modeling.ranking import keep_ranked
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError


class ActivationMaps(NamedTuple):
    """Per token the mean of the kept activations of a bottleneck, `[B,h,w]` float32."""

    high: Tensor
    low: Tensor


def high_and_low(adapter: nn.Module, x: Tensor, config: AdapterConfig) -> ActivationMaps:
    """The mean high and the mean low activation of every token.

    Of a decoupled adapter, those its foreground branch keeps (the largest) and those its background branch keeps (the
    smallest; Eq. 21). A vanilla adapter keeps all: of its one bottleneck the same shares are taken with an even gate,
    floor(c·(α + β/2)) channels.

    Args:
        adapter: One of SPEC's three adapters.
        x: Its input, tokens `[B,h,w,d]`.
        config: Its settings.

    Raises:
        UserError: An adapter of another kind.
    """
    if isinstance(adapter, DecoupledAdapter):
        shares = adapter.kept_channels(x)
        activations = adapter.foreground.activate(x), adapter.background.activate(x)
    elif isinstance(adapter, VanillaAdapter):
        alphas = (config.alpha_foreground, config.alpha_background)
        high_share, low_share = (x.new_tensor(config.bottleneck * (alpha + config.beta / 2)) for alpha in alphas)
        shares = high_share, low_share
        activations = (adapter.bottleneck.activate(x),) * 2
    else:
        raise UserError(f"model.adapter.name={config.name}: it has no high and low activations to draw")
    high, low = (
        (keep_ranked(h, rho, largest).sum(-1) / rho.floor().clamp_min(1).squeeze(-1)).float()
        for h, rho, largest in zip(activations, shares, (True, False), strict=True)
    )
    return ActivationMaps(high, low)


def activation_maps(
    model: Samsod, images: Mapping[str, Tensor], blocks: Sequence[int]
) -> dict[str, dict[int, ActivationMaps]]:
    """Runs a model and gathers what its adapters keep.

    Args:
        model: The model, in evaluation mode.
        images: `[B,3,H,W]` by modality.
        blocks: Indices of the Hiera blocks.

    Returns:
        By modality and block the maps, at the block's resolution.

    Raises:
        UserError: The model's adapters have no such activations.
    """
    maps: dict[str, dict[int, ActivationMaps]] = {}

    def gather(modality: str, block: int) -> Any:
        def hook(adapter: nn.Module, inputs: tuple[Tensor], _output: Tensor) -> None:
            maps.setdefault(modality, {})[block] = high_and_low(adapter, inputs[0], model.config.adapter)

        return hook

    handles = [
        adapter.register_forward_hook(gather(modality, block))
        for modality, modules in model.adapters.items()
        for block, adapter in enumerate(modules.children())
        if block in blocks
    ]
    try:
        with torch.inference_mode():
            for name in model.modalities:
                model.encode(images[name], name)
    finally:
        for handle in handles:
            handle.remove()
    return maps
