from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from samsod.config import AdapterConfig, ModelConfig
from samsod.modeling.activations import activation_maps, high_and_low
from samsod.modeling.adapters import build_adapter
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.conftest import SIZE


def micro(config: ModelConfig, adapter: str = "decoupled") -> Samsod:
    torch.manual_seed(0)
    model = Samsod(replace(config, adapter=replace(config.adapter, name=adapter))).eval()
    for name, parameter in model.named_parameters():
        if "adapters" in name and "gate" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def slow_means(h: torch.Tensor, rho: float, largest: bool) -> torch.Tensor:
    """Token by token: the mean of the floor(rho) largest or smallest activations."""
    count = math.floor(rho)
    tokens = h.reshape(-1, h.shape[-1]).tolist()
    means = [sum(sorted(token, reverse=largest)[:count]) / max(count, 1) for token in tokens]
    return torch.tensor(means).view(h.shape[:-1])


@pytest.mark.parametrize("name", ["decoupled", "decoupled_moe"])
def test_decoupled_adapters_show_what_their_branches_keep(name: str) -> None:
    torch.manual_seed(1)
    config = AdapterConfig(name=name, bottleneck=16)
    adapter = build_adapter(config, 8)
    torch.nn.init.normal_(adapter.gate.weight)  # type: ignore[union-attr, arg-type]
    x = torch.randn(2, 3, 4, 8)
    high, low = high_and_low(adapter, x, config)
    rho_high, rho_low = adapter.kept_channels(x)  # type: ignore[operator]
    for image in range(2):
        expected = slow_means(adapter.foreground.activate(x[image]), rho_high[image].item(), True)  # type: ignore[union-attr, operator]
        assert torch.allclose(high[image], expected, atol=1e-6)
        expected = slow_means(adapter.background.activate(x[image]), rho_low[image].item(), False)  # type: ignore[union-attr, operator]
        assert torch.allclose(low[image], expected, atol=1e-6)
    assert (high > low).all() and high.shape == (2, 3, 4)


def test_vanilla_adapters_show_the_same_shares_of_their_channels() -> None:
    torch.manual_seed(2)
    config = AdapterConfig(name="vanilla")  # 32 channels: floor(32 * 0.5) high ones, floor(32 * 0.4) low ones
    adapter = build_adapter(config, 8)
    x = torch.randn(1, 2, 3, 8)
    h = adapter.bottleneck.activate(x)  # type: ignore[union-attr, operator]
    high, low = high_and_low(adapter, x, config)
    assert torch.allclose(high, slow_means(h, 16, True), atol=1e-6)
    assert torch.allclose(low, slow_means(h, 12, False), atol=1e-6)


def test_an_adapter_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.adapter\.name=mine: it has no high and low activations"):
        high_and_low(torch.nn.Identity(), torch.zeros(1, 1, 1, 4), AdapterConfig(name="mine"))


@pytest.mark.parametrize("name", ["decoupled", "vanilla"])
@torch.inference_mode()
def test_maps_are_those_of_the_forward_pass(model_config: ModelConfig, name: str) -> None:
    model = micro(model_config, name)
    rgb, thermal = torch.randn(2, 1, 3, SIZE, SIZE)
    images = {"rgb": rgb, "thermal": thermal}
    seen: dict[str, torch.Tensor] = {}
    for modality, modules in model.adapters.items():
        list(modules.children())[2].register_forward_pre_hook(lambda _, inputs, m=modality: seen.update({m: inputs[0]}))
    before = model(images, run_encoder=lambda encoder, *args: encoder(*args)).saliency()  # one modality at a time
    maps = activation_maps(model, images, [2, 5])
    assert {modality: list(by_block) for modality, by_block in maps.items()} == {"rgb": [2, 5], "thermal": [2, 5]}
    for modality, modules in model.adapters.items():
        expected = high_and_low(list(modules.children())[2], seen[modality], model.config.adapter)
        assert torch.equal(maps[modality][2].high, expected.high) and torch.equal(maps[modality][2].low, expected.low)
        assert maps[modality][2].high.shape == (1, SIZE // 16, SIZE // 16)
    assert not torch.equal(maps["rgb"][2].high, maps["thermal"][2].high)
    torch.testing.assert_close(model(images).saliency(), before)
    assert not any(module._forward_hooks for module in model.modules())  # none is left behind


def test_every_modality_of_the_model_has_maps(model_config: ModelConfig) -> None:
    for modalities in (["rgb"], ["rgb", "depth", "thermal"]):
        model = micro(replace(model_config, modalities=modalities))
        images = {name: torch.randn(1, 3, SIZE, SIZE) for name in modalities}
        assert list(activation_maps(model, images, [0])) == modalities
