from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from samsod.config import AdapterConfig, ModelConfig
from samsod.modeling.adapters import DecoupledAdapter
from samsod.modeling.samsod import Prediction, Samsod


def randomised(config: ModelConfig) -> Samsod:
    """A model whose adapters already do something."""
    torch.manual_seed(0)
    model = Samsod(config)
    for adapters in (model.rgb_adapters, model.thermal_adapters):
        for parameter in adapters.parameters() if adapters else ():
            torch.nn.init.normal_(parameter, std=0.2)
    for module in model.modules():
        if isinstance(module, DecoupledAdapter):
            torch.nn.init.normal_(module.gate.weight, std=5)  # gates that react to the image
    return model.eval()


def images(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    rgb, thermal = torch.randn(2, batch, 3, 64, 64, generator=generator)
    return rgb, thermal


def test_prediction_shapes_and_saliency(model_config: ModelConfig) -> None:
    prediction = randomised(model_config)(*images())
    assert {name: tuple(logits.shape) for name, logits in prediction.streams().items()} == {
        "fusion": (2, 1, 64, 64),
        "rgb": (2, 1, 64, 64),
        "thermal": (2, 1, 64, 64),
    }
    fusion, rgb, thermal = prediction
    torch.testing.assert_close(prediction.saliency(), torch.sigmoid(fusion + rgb + thermal))


@pytest.mark.parametrize("adapter", ["vanilla", "decoupled", "decoupled_moe"])
@pytest.mark.parametrize("scope", ["image", "batch"])
def test_a_prediction_does_not_depend_on_its_batch_mates(model_config: ModelConfig, adapter: str, scope: str) -> None:
    settings = AdapterConfig(adapter, gate_scope=scope, beta=0.5)  # type: ignore[arg-type]
    model = randomised(replace(model_config, adapter=settings))
    rgb, thermal = images(3)
    rgb[1:] *= 5  # batch mates that pull a common gate away
    thermal[1:] += 3
    with torch.no_grad():
        together, alone = model(rgb, thermal), model(rgb[:1], thermal[:1])
    apart = max((a[:1] - b).abs().max().item() for a, b in zip(together, alone, strict=True))
    if scope == "image" or adapter == "vanilla":
        assert apart < 1e-4
    else:
        assert apart > 1e-2


def test_fusion_is_the_sum_of_the_trunk_features(model_config: ModelConfig) -> None:
    model = randomised(model_config)
    rgb, thermal = images()
    assert model.thermal_adapters is not None
    features = zip(model.encode(rgb, model.rgb_adapters), model.encode(thermal, model.thermal_adapters), strict=True)
    torch.testing.assert_close(model(rgb, thermal).fusion, model.decode([r + t for r, t in features]))


def test_streams_share_the_encoder_but_not_the_adapters(model_config: ModelConfig) -> None:
    fresh, trained = Samsod(model_config).eval(), randomised(model_config)
    rgb, _ = images()
    with torch.no_grad():
        same = fresh(rgb, rgb)
        other = trained(rgb, rgb)
    assert torch.equal(same.rgb, same.thermal)
    assert not torch.allclose(other.rgb, other.thermal)


def test_rgb_alone(model_config: ModelConfig) -> None:
    model = randomised(replace(model_config, modalities=["rgb"]))
    rgb, thermal = images()
    prediction = model(rgb)
    assert list(prediction.streams()) == ["rgb"] == list(model.loss_names())
    assert torch.equal(prediction.rgb, model(rgb, thermal).rgb)
    assert {group.name: group.losses for group in model.parameter_groups()} == {
        "rgb_adapter": ("rgb",),
        "decoder": ("rgb",),
        "encoder": ("rgb",),
    }


def test_without_unimodal_supervision_only_the_fusion_exists(model_config: ModelConfig) -> None:
    model = randomised(replace(model_config, unimodal_supervision=False))
    prediction = model(*images())
    assert list(prediction.streams()) == ["fusion"]
    torch.testing.assert_close(prediction.saliency(), prediction.fusion.sigmoid())
    assert all(group.losses == ("fusion",) for group in model.parameter_groups())


def test_wrong_input_is_refused(model_config: ModelConfig) -> None:
    model = Samsod(model_config)
    with pytest.raises(ValueError, match="multiples of 32"):
        model(torch.zeros(1, 3, 64, 72), torch.zeros(1, 3, 64, 72))
    with pytest.raises(ValueError, match="thermal"):
        model(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("adapter", ["vanilla", "decoupled", "decoupled_moe"])
@pytest.mark.parametrize("gradient", ["straight_through", "none"])
def test_each_group_is_reached_by_its_losses_and_no_other(
    model_config: ModelConfig, frozen: bool, adapter: str, gradient: str
) -> None:
    settings = AdapterConfig(adapter, gate_gradient=gradient)  # type: ignore[arg-type]
    model = randomised(replace(model_config, freeze_encoder=frozen, adapter=settings)).train()
    groups = model.parameter_groups()
    groups.check_cover(model)
    expected = {
        "rgb_adapter": {"fusion", "rgb"},
        "thermal_adapter": {"fusion", "thermal"},
        "decoder": {"fusion", "rgb", "thermal"},
        "encoder": {"fusion", "rgb", "thermal"},
    }
    assert [g.name for g in groups] == list(expected)[: 3 if frozen else 4]
    losses = {name: logits.square().mean() for name, logits in model(*images()).streams().items()}
    for group in groups:
        assert set(group.losses) == expected[group.name]
        for name, loss in losses.items():
            gradients = torch.autograd.grad(loss, group.parameters, retain_graph=True, allow_unused=True)
            reached = {gradient is not None for gradient in gradients}
            assert reached == {name in expected[group.name]}, (group.name, name)


class NoHostReads(TorchDispatchMode):
    """Raises where a tensor's value is read back: `.item()`, `int(tensor)`, `bool(tensor)`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("a value was read back to the host")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("adapter", ["vanilla", "decoupled", "decoupled_moe"])
def test_forward_reads_nothing_back_to_the_host(model_config: ModelConfig, adapter: str) -> None:
    model = randomised(replace(model_config, adapter=AdapterConfig(adapter)))
    with NoHostReads():
        model(*images())
    with pytest.raises(AssertionError, match="read back"), NoHostReads():
        int(torch.ones(()))


@pytest.mark.parametrize("size", ["tiny", "large"])
def test_parameter_counts_of_the_paper(size: str) -> None:
    model = Samsod(ModelConfig(size=size))  # type: ignore[arg-type]
    total = sum(p.numel() for p in model.parameters())
    adapters = sum(p.numel() for part in model.parts()["adapters"] for p in part.parameters())
    assert (total, adapters) == {"tiny": (32_677_685, 1_243_440), "large": (224_147_765, 7_229_376)}[size]


def test_streams_of_an_empty_prediction() -> None:
    assert Prediction().streams() == {}
