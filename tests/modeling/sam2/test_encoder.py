"""Against sam2's own trunk."""

from __future__ import annotations

import pytest
import torch

from samsod.config import ModelConfig, TrunkConfig
from samsod.modeling.sam2.specs import TrunkSpec, trunk_spec
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.modeling.sam2.official import make_official, official


@pytest.mark.parametrize("size", ["tiny", "small", "base_plus", "large"])
def test_an_untrained_trunk_equals_sam2s_exactly(size: str) -> None:
    theirs = make_official(size).image_encoder.trunk
    model = Samsod(ModelConfig(size=size)).eval()  # type: ignore[arg-type]
    model.encoder.get_submodule("trunk").load_state_dict(theirs.state_dict(), assign=True)  # no second gigabyte
    images = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        for ours, expected in zip(model.encode(images, "rgb"), theirs(images), strict=True):
            assert torch.equal(ours, expected)


@pytest.mark.parametrize("side", [96, 224])
def test_any_multiple_of_32_works(side: int) -> None:
    """Windows that do not divide the map are padded as sam2 pads them."""
    model, theirs = Samsod(ModelConfig(size="tiny")).eval(), official("tiny").image_encoder.trunk
    model.encoder.get_submodule("trunk").load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        for ours, expected in zip(model.encode(images, "rgb"), theirs(images), strict=True):
            assert torch.equal(ours, expected)
        assert model({"rgb": images, "thermal": images}).logits().shape == (1, 1, side, side)


@pytest.mark.parametrize(
    "overrides",
    [TrunkConfig(stages=[1, 2]), TrunkConfig(num_heads=5), TrunkConfig(global_att_blocks=[40])],
)
def test_contradicting_trunk_overrides_are_refused(overrides: TrunkConfig) -> None:
    with pytest.raises(UserError, match=r"model\.trunk"):
        trunk_spec("tiny", overrides)


def test_trunk_overrides() -> None:
    spec = trunk_spec("micro", TrunkConfig(embed_dim=24, stages=[1, 1, 4, 1]))
    assert (spec.embed_dim, spec.stages) == (24, (1, 1, 4, 1))
    assert TrunkSpec().channels == [768, 384, 192, 96]


@pytest.mark.parametrize("size", ["tiny", "large"])
def test_parameter_counts_of_the_paper(size: str) -> None:
    model = Samsod(ModelConfig(size=size))  # type: ignore[arg-type]
    total = sum(p.numel() for p in model.parameters())
    adapters = sum(p.numel() for part in model.parts()["adapters"] for p in part.parameters())
    assert (total, adapters) == {"tiny": (32_677_685, 1_243_440), "large": (224_147_765, 7_229_376)}[size]
