"""The authors' released checkpoint, by a state dict of its names and shapes."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from samsod.config import ModelConfig
from samsod.modeling.released import load_released, released_state
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.modeling.released import released_adapters, released_checkpoint, released_config
from tests.modeling.sam2.official import official


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("released") / "sam_rgbt.pth"
    torch.save(released_checkpoint(), path)
    return path


def test_every_adapter_lands_in_its_block_modality_and_branch(file: Path) -> None:
    model, state = Samsod(released_config()).eval(), torch.load(file, weights_only=True)
    assert load_released(model, file) == f"1,880 of the 1,882 tensors of {file} loaded, 2 are not used"
    for modality, stages in (
        ("rgb", ("rgb0_1", "rgb2_7", "rgb8_43", "rgb44_47")),
        ("thermal", ("depth0_1d", "depth2_7d", "depth8_43d", "depth44_47d")),
    ):
        for block in range(48):
            stage = sum(block > last for last in (1, 7, 43))
            theirs = f"{stages[stage]}.{block - (0, 2, 8, 44)[stage]}"
            ours = model.adapters[modality].get_submodule(str(block)).state_dict()
            for key, value in {
                "gate.weight": state[f"{theirs}.router.0.weight"],
                "gate.bias": state[f"{theirs}.router.0.bias"],
                "branch_gate.weight": state[f"{theirs}.router_2.0.weight"],
                "branch_gate.bias": state[f"{theirs}.router_2.0.bias"],
                "foreground.down.weight": state[f"{theirs}.adaptmlp.down_proj.weight"],
                "foreground.up.bias": state[f"{theirs}.adaptmlp.up_proj.bias"],
                "background.down.bias": state[f"{theirs}.adaptmlp1.down_proj.bias"],
                "background.up.weight": state[f"{theirs}.adaptmlp1.up_proj.weight"],
            }.items():
                assert torch.equal(ours[key], value), (modality, block, key)


def test_a_loaded_adapter_computes_what_the_released_code_does(file: Path) -> None:
    model, state = Samsod(released_config()).eval(), torch.load(file, weights_only=True)
    load_released(model, file)
    tokens = torch.randn(2, 4, 4, 64)
    with torch.no_grad():
        ours = model.adapters["thermal"].get_submodule("30")(tokens)
        expected = literal_adapter(
            tokens, {k.removeprefix("depth8_43d.22."): v for k, v in state.items() if k.startswith("depth8_43d.22.")}
        )
    torch.testing.assert_close(ours, expected)


def literal_adapter(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    """SPEC 1.2, `decoupled_moe` with the gate as the released code has it, on that code's tensors."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    shares = linear(x, "router.0").softmax(-1).mean((0, 1, 2))
    weights = linear(x, "router_2.0").softmax(-1)
    total = torch.zeros_like(x)
    for branch, (name, alpha, largest) in enumerate((("adaptmlp", 0.45, True), ("adaptmlp1", 0.35, False))):
        h = F.gelu(linear(x, f"{name}.down_proj"))
        kept = h.topk(int(32 * (alpha + 0.1 * shares[branch])), largest=largest).indices
        sparse = torch.zeros_like(h).scatter(-1, kept, h.gather(-1, kept))
        total += weights[..., branch : branch + 1] * linear(sparse, f"{name}.up_proj")
    return total


def test_the_large_model_takes_1880_of_2052_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and shapes at full size, without memory for them; the 172 others are those of SAM2, not SAM2.1."""
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))  # Hiera reads its values
    with torch.device("meta"):
        model = Samsod(ModelConfig(size="large", adapter=released_config().adapter))
        theirs = {key: value.shape for key, value in released_adapters(144).items()}
        sam2 = official.__wrapped__("large", "sam2", "meta").state_dict()
    theirs |= {f"model.{key}": value.shape for key, value in sam2.items()}
    ours = {key: value.shape for key, value in released_state(model).items()}
    assert len(theirs) == 2052 and len(ours) == 1880
    assert ours.items() <= theirs.items()
    assert not any(key.startswith(("rgb", "depth")) for key in theirs.keys() - ours.keys())


def refused(path: Path, content: object, config: ModelConfig | None = None) -> str:
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        load_released(Samsod(config or released_config()), path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_files_are_refused_with_their_keys(file: Path, tmp_path: Path) -> None:
    state = torch.load(file, weights_only=True)
    del state["rgb8_43.35.router_2.0.bias"]
    state |= {"rgb8_43.36.router_2.0.bias": torch.zeros(2), "depth0_1d.0.adaptmlp.up_proj.bias": torch.zeros(3)}
    message = refused(tmp_path / "odd.pth", state)
    assert "1 missing (rgb8_43.35.router_2.0.bias)" in message
    assert "1 unexpected (rgb8_43.36.router_2.0.bias)" in message
    assert "depth0_1d.0.adaptmlp.up_proj.bias is [3], expected [16]" in message
    foreign = refused(tmp_path / "foreign.pth", {"image_encoder.trunk.pos_embed": torch.zeros(1)})
    assert "it has image_encoder.trunk.pos_embed" in foreign and "like depth44_47d.3." in foreign
    assert "it has model" in refused(tmp_path / "wrapped.pth", {"model": {}})
    assert "expected the authors' released checkpoint" in refused(tmp_path / "list.pth", [1])
    micro = ModelConfig(size="micro", decoder_width=32, adapter=released_config().adapter)
    assert "unexpected" in refused(tmp_path / "other.pth", state, micro)
    assert "decoupled_moe" in refused(tmp_path / "plain.pth", state, ModelConfig(size="micro", decoder_width=32))
