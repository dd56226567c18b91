from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from samsod.config import AdapterConfig, ModelConfig
from samsod.modeling.adapters import DecoupledAdapter
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError


def randomised(config: ModelConfig) -> Samsod:
    """A model whose adapters already do something."""
    torch.manual_seed(0)
    model = Samsod(config)
    for parameter in model.adapters.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    for module in model.modules():
        if isinstance(module, DecoupledAdapter):
            torch.nn.init.normal_(module.gate.weight, std=5)  # gates that react to the image
    return model.eval()


def images(batch: int = 2, modalities: Sequence[str] = ("rgb", "thermal")) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(batch, 3, 64, 64, generator=generator) for name in modalities}


LISTS = (["rgb"], ["rgb", "depth"], ["rgb", "depth", "thermal"], ["polar_90"])


@pytest.mark.parametrize("modalities", LISTS)
@pytest.mark.parametrize("unimodal", [True, False])
def test_streams_losses_and_groups_follow_the_list(
    model_config: ModelConfig, modalities: list[str], unimodal: bool
) -> None:
    model = randomised(replace(model_config, modalities=modalities, unimodal_supervision=unimodal))
    batch = images(modalities=modalities)
    prediction = model({**batch, "ground_truth": torch.zeros(2, 1, 64, 64), "infrared": torch.zeros(1)})
    alone = len(modalities) == 1
    streams = modalities if alone else ["fusion", *(modalities if unimodal else [])]
    assert {name: tuple(logits.shape) for name, logits in prediction.streams.items()} == dict.fromkeys(
        streams, (2, 1, 64, 64)
    )
    assert list(prediction.streams) == streams == list(model.loss_names()) and model.modalities == tuple(modalities)
    assert prediction.logits().dtype == torch.float32
    torch.testing.assert_close(prediction.logits(), sum(prediction.streams[name] for name in streams))
    torch.testing.assert_close(prediction.saliency(), torch.sigmoid(prediction.logits()))
    assert {group.name: group.losses for group in model.parameter_groups()} == {
        **{f"{m}_adapter": tuple(name for name in streams if name in ("fusion", m)) for m in modalities},
        "decoder": tuple(streams),
        "encoder": tuple(streams),
    }


@pytest.mark.parametrize("adapter", ["vanilla", "decoupled", "decoupled_moe"])
@pytest.mark.parametrize("scope", ["image", "batch"])
def test_a_prediction_does_not_depend_on_its_batch_mates(model_config: ModelConfig, adapter: str, scope: str) -> None:
    settings = AdapterConfig(adapter, gate_scope=scope, beta=0.5)  # type: ignore[arg-type]
    model = randomised(replace(model_config, adapter=settings))
    batch = images(3)
    batch["rgb"][1:] *= 5  # batch mates that pull a common gate away
    batch["thermal"][1:] += 3
    with torch.no_grad():
        together = model(batch).streams
        alone = model({name: values[:1] for name, values in batch.items()}).streams
    apart = max((together[name][:1] - alone[name]).abs().max().item() for name in together)
    if scope == "image" or adapter == "vanilla":
        assert apart < 1e-4
    else:
        assert apart > 1e-2


@pytest.mark.parametrize("modalities", [["rgb", "thermal"], ["rgb", "depth", "thermal"]])
@torch.no_grad()
def test_fusion_is_the_sum_of_the_trunk_features_of_all_modalities(
    model_config: ModelConfig, modalities: list[str]
) -> None:
    model = randomised(replace(model_config, modalities=modalities))
    batch = images(modalities=modalities)
    features = [model.encode(batch[name], name) for name in modalities]
    summed = [torch.stack([maps[stage] for maps in features]).sum(0) for stage in range(4)]
    prediction = model(batch)
    torch.testing.assert_close(prediction.streams["fusion"], model.decode(summed))
    for name, maps in zip(modalities, features, strict=True):
        torch.testing.assert_close(prediction.streams[name], model.decode(maps))


THREE = ("rgb", "depth", "thermal")
SUBSETS = [names for count in (1, 2, 3) for names in itertools.combinations(THREE, count)]


@pytest.mark.parametrize("unimodal", [True, False])
@torch.no_grad()
def test_any_modalities_predict_without_the_others(model_config: ModelConfig, unimodal: bool) -> None:
    model = randomised(replace(model_config, modalities=list(THREE), unimodal_supervision=unimodal))
    batch = images(modalities=THREE)
    whole = model(batch).streams
    for names in SUBSETS:
        streams = model({name: batch[name] for name in names}, list(reversed(names))).streams
        fused = len(names) > 1 or not unimodal
        assert list(streams) == [*(["fusion"] if fused else []), *(names if unimodal else [])]
        for name in names if unimodal else ():
            torch.testing.assert_close(streams[name], whole[name])
        if fused:
            maps = zip(*(model.encode(batch[name], name) for name in names), strict=True)
            summed = [torch.stack(stage).sum(0) for stage in maps]
            torch.testing.assert_close(streams["fusion"], model.decode(summed))


@torch.no_grad()
def test_what_is_not_given_costs_nothing(model_config: ModelConfig) -> None:
    model = randomised(replace(model_config, modalities=list(THREE)))
    batch = images(modalities=THREE)
    costs = {}
    for names in [("rgb",), ("rgb", "thermal"), THREE]:
        fewer = randomised(replace(model_config, modalities=list(names)))
        with FlopCounterMode(display=False) as given:
            model(batch, names)
        with FlopCounterMode(display=False) as own:
            fewer(batch)
        costs[names] = given.get_total_flops()
        assert costs[names] == own.get_total_flops()
    assert costs[("rgb",)] < costs[("rgb", "thermal")] < costs[THREE]


def test_streams_share_the_encoder_but_not_the_adapters(model_config: ModelConfig) -> None:
    fresh, trained = Samsod(model_config).eval(), randomised(model_config)
    image = images()["rgb"]
    both = {"rgb": image, "thermal": image}
    with torch.no_grad():
        same, other = fresh(both).streams, trained(both).streams
    assert torch.equal(same["rgb"], same["thermal"])
    assert not torch.allclose(other["rgb"], other["thermal"])


def test_without_unimodal_supervision_only_the_fusion_exists(model_config: ModelConfig) -> None:
    model = randomised(replace(model_config, unimodal_supervision=False))
    prediction = model(images())
    assert list(prediction.streams) == ["fusion"]
    torch.testing.assert_close(prediction.saliency(), prediction.streams["fusion"].sigmoid())
    assert all(group.losses == ("fusion",) for group in model.parameter_groups())


def test_wrong_input_is_refused(model_config: ModelConfig) -> None:
    model = Samsod(model_config)
    with pytest.raises(ValueError, match="multiples of 32"):
        model({"rgb": torch.zeros(1, 3, 64, 64), "thermal": torch.zeros(1, 3, 64, 72)})
    with pytest.raises(ValueError, match=r"no image of the modality thermal: model\.modalities is"):
        model({"rgb": torch.zeros(1, 3, 64, 64)})
    with pytest.raises(ValueError, match="no image of the modality thermal"):
        model({"rgb": torch.zeros(1, 3, 64, 64)}, ["rgb", "thermal"])
    with pytest.raises(ValueError, match=r"no modality is called depth: model\.modalities is"):
        model({"rgb": torch.zeros(1, 3, 64, 64)}, ["rgb", "depth"])


def test_further_modalities_change_no_start(model_config: ModelConfig) -> None:
    """Weights are drawn for encoder, decoder, and the adapters in the list's order."""
    states = []
    for modalities in (["rgb"], ["rgb", "thermal"], ["rgb", "thermal", "depth"]):
        torch.manual_seed(0)
        states.append(Samsod(replace(model_config, modalities=modalities)).state_dict())
    for fewer, more in itertools.pairwise(states):
        assert list(more)[: len(fewer)] == list(fewer) and len(more) > len(fewer)
        assert all(torch.equal(more[key], value) for key, value in fewer.items())
    assert {key.partition(".")[0]: None for key in states[0]} == dict.fromkeys(("encoder", "decoder", "adapters"))
    twins = [states[1][f"adapters.{name}.0.foreground.down.weight"] for name in ("rgb", "thermal")]
    assert not torch.equal(*twins)


@pytest.mark.parametrize("name", ["type", "train", "training", "keys"])
def test_a_name_that_pytorch_keeps_is_refused(model_config: ModelConfig, name: str) -> None:
    with pytest.raises(UserError, match=rf"^model\.modalities: PyTorch has another use for the name '{name}'"):
        Samsod(replace(model_config, modalities=["rgb", name]))


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
    losses = {name: logits.square().mean() for name, logits in model(images()).streams.items()}
    for group in groups:
        assert set(group.losses) == expected[group.name]
        for name, loss in losses.items():
            gradients = torch.autograd.grad(loss, group.parameters, retain_graph=True, allow_unused=True)
            if name in expected[group.name]:
                assert all(gradient is not None for gradient in gradients), (group.name, name)
            else:  # where modalities share a graph, there are zeros
                assert not any(gradient is not None and gradient.any() for gradient in gradients), (group.name, name)


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
        model(images())
    with pytest.raises(AssertionError, match="read back"), NoHostReads():
        int(torch.ones(()))
