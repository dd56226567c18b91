"""Against sam2's own trunk."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import torch
from torch import Tensor

from samsod.benchmarks.cost import Unfilled, weightless
from samsod.benchmarks.counts import Operators
from samsod.config import ModelConfig, TrunkConfig
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.sam2.specs import SIZES, TrunkSpec, trunk_spec
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.modeling.sam2.official import make_official, official


@pytest.mark.parametrize("size", ["tiny", "small", "base_plus", "large"])
def test_an_untrained_trunk_equals_sam2s_exactly(size: str) -> None:
    gc.collect()  # the size before
    with Unfilled():  # sam2's weights take a gigabyte, and ours are these
        model = weightless(Samsod(ModelConfig(size=size)).eval())  # type: ignore[arg-type]
    theirs = make_official(size).image_encoder.trunk
    model.encoder.get_submodule("trunk").load_state_dict(theirs.state_dict(), assign=True)
    images = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        for ours, expected in zip(model.encode(images, "rgb"), theirs(images), strict=True):
            assert torch.equal(ours, expected)


@pytest.mark.usefixtures("by_convolution")
def test_a_trunk_of_large_products_equals_sam2s() -> None:
    """Computed as convolutions, forward and backward, which small ones are not."""
    encoder, theirs = Sam2Encoder(SIZES["tiny"], 32), official("tiny").image_encoder.trunk
    encoder.trunk.load_state_dict(theirs.state_dict())
    tokens = torch.randn(2, 24, 16, 96, requires_grad=True)
    x = y = tokens
    with Operators() as operators:
        for index in range(12):
            x = encoder.block(index, x, lambda _, x: torch.zeros_like(x), (0, 0))
    for block in theirs.blocks:
        y = block(y)
    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)
    grad = torch.randn_like(x)
    ours, expected = (torch.autograd.grad(made, tokens, grad)[0] for made in (x, y))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert operators.names["convolution"] == 4 * 12 + 3  # and the shortcuts of stages 2 to 4


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
    with Unfilled():
        model = Samsod(ModelConfig(size=size))  # type: ignore[arg-type]
    total = sum(p.numel() for p in model.parameters())
    adapters = sum(p.numel() for part in model.parts()["adapters"] for p in part.parameters())
    assert (total, adapters) == {"tiny": (32_677_685, 1_243_440), "large": (224_147_765, 7_229_376)}[size]


def test_positions_are_made_once_for_a_size_and_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = Sam2Encoder(SIZES["micro"], 32).requires_grad_(False)
    trunk, made = encoder.trunk, Counter[tuple[int, int]]()
    torch.nn.init.normal_(trunk.pos_embed)
    original = trunk._get_pos_embed

    def counted(size: tuple[int, int]) -> Tensor:
        made[size] += 1
        return original(size)

    monkeypatch.setattr(trunk, "_get_pos_embed", counted)
    with torch.inference_mode():
        first = encoder.positions(16, 24)
    assert not first.is_inference() and torch.equal(first, original((16, 24)))
    assert encoder.positions(16, 24) is first and made[16, 24] == 1
    assert torch.equal(encoder.positions(24, 16), original((24, 16)))
    encoder.load_state_dict({key: value + 1 for key, value in encoder.state_dict().items()})
    assert torch.equal(encoder.positions(24, 16), original((24, 16)))
    trunk.pos_embed.data = trunk.pos_embed.data * 2
    assert torch.equal(encoder.positions(24, 16), original((24, 16)))
    encoder.double()
    assert torch.equal(encoder.positions(24, 16), original((24, 16)))
    assert not any("table" in key for key in encoder.state_dict())
    encoder.requires_grad_(True)
    assert encoder.positions(24, 16).requires_grad
