from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from samsod.benchmarks.cost import Unfilled, cost, cost_table, weightless
from samsod.config import ModelConfig
from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.modeling.samsod import Prediction, SaliencyModel, Samsod


class Attention(SaliencyModel):
    """One attention with 3 heads: 20 queries, 50 keys, 8 channels of Q and 6 of V."""

    def forward(self, images: Mapping[str, Tensor], given: Sequence[str] = ()) -> Prediction:
        made = images["rgb"].new_zeros
        q, k, v = made(2, 3, 20, 8), made(2, 3, 50, 8), made(2, 3, 50, 6)
        return Prediction({"rgb": self.last(nn.functional.scaled_dot_product_attention(q, k, v))})

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.last = nn.Linear(6, 5, bias=False)

    def parameter_groups(self) -> ParameterGroups:
        return ParameterGroups([ParameterGroup("all", list(self.parameters()), ("rgb",))])

    def parts(self) -> dict[str, list[nn.Module]]:
        return {"last": [self.last]}


def test_attention_is_two_matrix_products() -> None:
    figures = cost(Attention(ModelConfig()), 64)
    linear = 2 * 3 * 20 * 6 * 5
    assert figures["macs_fvcore"] == linear
    assert figures["macs_with_attention"] == linear + 2 * 3 * (20 * 50 * 8 + 20 * 50 * 6)
    assert figures["params"] == figures["params_trainable"] == 30


def test_parts_add_up(model_config: ModelConfig) -> None:
    figures = cost(Samsod(replace(model_config, freeze_encoder=True)), 64)
    parts = figures["parts"]
    assert sum(part["params"] for part in parts.values()) == figures["params"]
    assert sum(part["params_trainable"] for part in parts.values()) == figures["params_trainable"]
    assert parts["trunk"]["params_trainable"] == parts["neck"]["params_trainable"] == 0
    outside = figures["macs_with_attention"] - sum(part["macs_with_attention"] for part in parts.values())
    assert 0 <= outside < 0.05 * figures["macs_with_attention"]  # upsampling, positions


def test_the_papers_figures_come_out() -> None:
    config = ModelConfig(size="tiny")
    figures = cost(Samsod(config), 512)
    found = (figures["params"] / 1e6, figures["macs_fvcore"] / 1e9, figures["macs_with_attention"] / 1e9)
    assert tuple(round(value, digits) for value, digits in zip(found, (3, 2, 2), strict=True)) == (32.678, 59.50, 66.96)
    parts = figures.pop("parts")
    table = cost_table(figures, parts, config)
    assert "59.50" in table and "Table I" in table and "512x512 image of each modality: rgb, therm" in table
    assert "Table I" not in cost_table(figures, parts, replace(config, modalities=["rgb"]))


def test_a_model_without_values_has_the_same_figures(model_config: ModelConfig) -> None:
    with Unfilled():
        model = Samsod(model_config)
    assert cost(weightless(model), 64) == cost(Samsod(model_config), 64)


def test_only_parameters_are_left_unfilled() -> None:
    parameter = nn.Parameter(torch.ones(3))
    with Unfilled():
        nn.init.constant_(parameter, 5)
        nn.init.zeros_(tensor=parameter)
        parameter.data.fill_(2)
        with torch.no_grad():
            parameter.uniform_(3, 4).mul_(2)
        parameter.requires_grad_(False)
        buffer = torch.zeros(3).add_(7)
    assert parameter.tolist() == [2] * 3 and not parameter.requires_grad and buffer.tolist() == [7] * 3


def test_costs_follow_the_modalities(model_config: ModelConfig) -> None:
    """One modality more costs its adapters, and a pass through encoder and decoder; the first brings the fusion too."""
    lists = (["rgb"], ["rgb", "depth"], ["rgb", "depth", "thermal"])
    one, two, three = (cost(Samsod(replace(model_config, modalities=names)), 64) for names in lists)
    for key in ("params", "macs_with_attention"):
        parts = [figures["parts"] for figures in (one, two, three)]
        assert parts[2]["adapters"][key] == 3 * parts[0]["adapters"][key] > 0
        for part in ("trunk", "neck", "decoder"):
            passes = {"params": (1, 1, 1), "macs_with_attention": (1, 2, 3) if part == "trunk" else (1, 3, 4)}[key]
            assert [item[part][key] for item in parts] == [count * parts[0][part][key] for count in passes]


def test_counting_changes_nothing(model_config: ModelConfig) -> None:
    model = Samsod(model_config).eval()
    images = dict(zip(model.modalities, torch.randn(2, 1, 3, 64, 64), strict=True))
    before = model(images).logits()
    cost(model, 64)
    assert torch.equal(model(images).logits(), before)
