"""Another backbone is one file: a small ViT of one width, with a class token, weights of its own and a new pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from samsod.benchmarks.cost import cost
from samsod.config import Config, ModelConfig
from samsod.config.schema import EncoderConfig
from samsod.drawing.activations import chosen_blocks
from samsod.engine.checkpoint import load_checkpoint, load_model_state
from samsod.modeling.activations import activation_maps
from samsod.modeling.backbone import Beside, Decoder, Encoder, Size
from samsod.modeling.samsod import Samsod, build_model
from samsod.registry import ENCODERS
from samsod.utils.errors import UserError
from samsod.utils.weights import copy_strictly, read_tensors
from tests.training import run


class TinyViT(Encoder):
    """Patches of 16 pixels, three blocks, two stages."""

    stride = 16
    stage_ends = (0, 2)

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.widths = (width,) * 3
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, width, 0.0, batch_first=True) for _ in "123")
        self.up = nn.ConvTranspose2d(width, out, 4, 4)

    def embed(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)

    def block(self, index: int, tokens: Tensor, beside: Beside, size: Size) -> Tensor:
        block = self.blocks[index]
        assert isinstance(block, nn.TransformerEncoderLayer)
        x = tokens + block.self_attn(tokens, tokens, tokens, need_weights=False)[0]
        added = beside(index, self._patches(x, size)).flatten(1, 2)
        x = x + block.linear2(block.linear1(block.norm2(x)).relu())
        return torch.cat([x[:, :1], x[:, 1:] + added], 1)

    def stage_map(self, index: int, tokens: Tensor, size: Size) -> Tensor:
        return self._patches(tokens, size).permute(0, 3, 1, 2)

    def _patches(self, tokens: Tensor, size: Size) -> Tensor:
        return tokens[:, 1:].unflatten(1, (size[0] // 16, size[1] // 16))

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [self.up(maps[0] + maps[1])]

    def parts(self) -> dict[str, nn.Module]:
        return {"vit": self.blocks, "patches": self.patches, "pyramid": self.up}

    def pretrained(self) -> list[nn.Module]:
        return [self.patches, self.blocks]


class Pointwise(Decoder):
    stride = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        self.last, self.unused = nn.Conv2d(width, 1, 1), nn.Linear(2, 2)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        return self.last(pyramid[0])

    def unreachable(self) -> list[nn.Parameter]:
        return list(self.unused.parameters())


@ENCODERS.register("tiny_vit_of_a_test")
def build_tiny_vit(config: ModelConfig) -> tuple[Encoder, Decoder]:
    encoder = TinyViT(config.encoder.options["width"], 8)
    if config.weights:
        wanted = {key: value for key, value in encoder.state_dict().items() if not key.startswith(("up.", "class_"))}
        copy_strictly(wanted, read_tensors(config.weights, "a tiny ViT"), config.weights)
    return encoder, Pointwise(8)


def vit_config(config: ModelConfig) -> ModelConfig:
    return replace(config, encoder=EncoderConfig("tiny_vit_of_a_test", {"width": 24}), modalities=["rgb", "thermal"])


def test_it_trains_saves_and_loads(config: Config, tmp_path: Path) -> None:
    given, _ = build_tiny_vit(vit_config(config.model))
    state = {key: value for key, value in given.state_dict().items() if not key.startswith(("up.", "class_"))}
    torch.save(state, tmp_path / "vit.pt")
    settings = replace(vit_config(config.model), weights=str(tmp_path / "vit.pt"), freeze_encoder=True)
    trainer = run(replace(config, model=settings, train=replace(config.train, steps=1)))
    model = trainer.model
    for key, value in state.items():  # frozen
        assert torch.equal(model.state_dict()[f"encoder.{key}"], value)
    groups = {group.name: group for group in model.parameter_groups()}
    assert list(groups) == ["rgb_adapter", "thermal_adapter", "decoder", "encoder"]
    assert len(groups["encoder"].parameters) == 3 and len(groups["decoder"].parameters) == 2

    path = tmp_path / "run" / "checkpoints" / "step_00000001.pt"
    content = load_checkpoint(path)
    assert content["base"]["file"] == "vit.pt"
    assert {key for key in content["model"] if key.startswith("encoder.")} == {
        *("encoder.class_token", "encoder.up.weight", "encoder.up.bias")
    }
    other = build_model(settings)
    load_model_state(other, content, path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_the_tools_know_nothing_of_the_backbone(model_config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = Samsod(vit_config(model_config)).eval()
    images = dict(zip(model.modalities, torch.randn(2, 1, 3, 64, 96), strict=True))
    assert model(images).saliency().shape == (1, 1, 64, 96)
    with pytest.raises(ValueError, match="multiples of 16, found 64, 72"):
        model({name: torch.zeros(1, 3, 64, 72) for name in model.modalities})
    assert list(cost(model, 64)["parts"]) == ["vit", "patches", "pyramid", "decoder", "adapters"]
    assert chosen_blocks(model, []) == [0, 2]
    assert activation_maps(model, images, [1])["thermal"][1].high.shape == (1, 4, 6)


def test_an_encoder_that_is_not_there_is_named(model_config: ModelConfig) -> None:
    with pytest.raises(UserError, match=r"no encoder is called 'sam_2' \(did you mean 'sam2'\?\)"):
        Samsod(replace(model_config, encoder=EncoderConfig("sam_2")))
    with pytest.raises(UserError, match=r"model\.encoder\.options: sam2 takes none, found width"):
        Samsod(replace(model_config, encoder=EncoderConfig(options={"width": 1})))
