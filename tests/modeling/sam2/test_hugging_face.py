"""Hugging Face's files of SAM2: the same tensors as Meta's, under other names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from samsod.benchmarks.cost import Unfilled
from samsod.config import ModelConfig
from samsod.modeling.sam2.hugging_face import hugging_face_key
from samsod.modeling.sam2.weights import meta_state
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.modeling.sam2.official import hugging_face_state, official, official_file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "model.safetensors"
    save_file(hugging_face_state("tiny"), path)
    return path


def loaded(path: Path, size: str = "tiny") -> Samsod:
    return Samsod(ModelConfig(size=size, weights=str(path))).eval()  # type: ignore[arg-type]


def refused(path: Path, size: str = "tiny") -> str:
    try:
        loaded(path, size)
    except UserError as error:  # pytest.raises would keep the model with the traceback
        assert "\n" not in str(error) and str(path) in str(error)
        return str(error)
    pytest.fail(f"{path} was taken")


@pytest.mark.parametrize(("older", "lacking"), [(False, ""), (False, "prompt_encoder.shared"), (True, "shared_image")])
def test_every_tensor_lands(tmp_path: Path, older: bool, lacking: str) -> None:
    """Where transformers holds both matrices of positions as one (4.56, 4.57), the file has one of the two names."""
    path = tmp_path / "model.safetensors"
    there = {
        key: value
        for key, value in hugging_face_state("tiny", older).items()
        if not (lacking and key.startswith(lacking))
    }
    save_file(there, path)
    model = loaded(path)
    ours, theirs = meta_state(model.encoder, model.decoder), official("tiny").state_dict()  # type: ignore[arg-type]
    assert len(ours) == 154 + 8 + 131 + 3
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
    (line,) = model.remarks
    more = 2 if lacking else 3
    assert line == f"loaded SAM2 tiny from {path}, Hugging Face's names: 296 tensors, {more} more are not used"


@pytest.mark.parametrize("name", ["Sam2", "Sam2Video"])
def test_files_that_transformers_writes(tmp_path: Path, name: str) -> None:
    """Runs where transformers is installed; none of the extras has it."""
    transformers = pytest.importorskip("transformers", minversion="4.56")
    theirs = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")()).eval()
    theirs.no_memory_embedding.data.normal_()  # zero in a new model
    theirs.save_pretrained(tmp_path)
    model, images = loaded(tmp_path / "model.safetensors"), torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        maps = model.encoder.pyramid(model.encode(images, "rgb"))
        expected = theirs.vision_encoder(images).fpn_hidden_states
    assert {tuple(ours.shape) for ours in maps} == {(1, 256, side, side) for side in (64, 32, 16)}
    for ours, wanted in zip(maps, sorted(expected, key=lambda map: -map.shape[-1]), strict=True):
        assert torch.equal(ours, wanted)
    state = theirs.state_dict()
    for key, value in meta_state(model.encoder, model.decoder).items():  # type: ignore[arg-type]
        assert torch.equal(value, state[hugging_face_key(key)]), key


def test_it_predicts_what_metas_file_does(file: Path, tmp_path: Path) -> None:
    images = torch.randn(1, 3, 64, 64)
    meta = official_file("tiny", tmp_path)
    models = [loaded(path) for path in (file, meta)]
    with torch.no_grad():
        ours, expected = (model({"rgb": images, "thermal": images}).logits() for model in models)
    assert torch.equal(ours, expected)
    unused = len(official("tiny").state_dict()) - 296
    assert models[1].remarks == [f"loaded SAM2 tiny from {meta}, Meta's names: 296 tensors, {unused} more are not used"]


def test_names_as_they_are_in_the_files(file: Path) -> None:
    """Some of the names of facebook/sam2.1-hiera-tiny, written out."""
    for key in (
        "vision_encoder.backbone.patch_embed.projection.weight",
        "vision_encoder.backbone.blocks.1.layer_norm1.weight",
        "vision_encoder.backbone.blocks.1.attn.qkv.weight",
        "vision_encoder.backbone.blocks.1.mlp.proj_out.bias",
        "vision_encoder.backbone.pos_embed_window",
        "vision_encoder.neck.convs.3.bias",
        "mask_decoder.transformer.layers.0.cross_attn_image_to_token.o_proj.weight",
        "mask_decoder.transformer.layers.1.mlp.proj_in.weight",
        "mask_decoder.transformer.layer_norm_final_attn.weight",
        "mask_decoder.upscale_layer_norm.bias",
        "mask_decoder.output_hypernetworks_mlps.3.layers.0.weight",
        "mask_decoder.pred_obj_score_head.proj_out.bias",
    ):
        assert key in hugging_face_state("tiny")


def test_wrong_files_are_one_line(file: Path, tmp_path: Path) -> None:
    assert "holds SAM2 tiny, but model.size asks for small" in refused(file, "small")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-1000])
    assert "damaged, or no safetensors file" in refused(tmp_path / "cut.safetensors")
    (tmp_path / "text.safetensors").write_text("no checkpoint")
    assert "damaged, or no safetensors file" in refused(tmp_path / "text.safetensors")
    save_file({"bert.embeddings.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    message = refused(tmp_path / "other.safetensors")
    assert "holds no SAM2 image encoder" in message and "bert.embeddings.weight" in message


def test_keys_that_do_not_fit_are_listed_by_the_names_in_the_file(tmp_path: Path) -> None:
    state = hugging_face_state("tiny")
    del state["vision_encoder.neck.convs.0.bias"]
    state["mask_decoder.extra"] = torch.zeros(1)
    state["no_memory_embedding"] = torch.zeros(1, 1, 8)
    save_file(state, tmp_path / "odd.safetensors")
    message = refused(tmp_path / "odd.safetensors")
    assert "1 missing (vision_encoder.neck.convs.0.bias)" in message
    assert "1 unexpected (mask_decoder.extra)" in message
    assert "no_memory_embedding is [1, 1, 8], expected [1, 1, 256]" in message


def test_without_safetensors_one_line_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install 'samsod[weights]'" in refused(file)


def test_a_missing_file_names_the_official_one_and_how_to_get_it(tmp_path: Path) -> None:
    with Unfilled():
        message = refused(tmp_path / "model.safetensors", "large")
    assert message.endswith(
        f"no such file; SAM2 large is Meta's sam2.1_hiera_large.pt: python tools/download_sam2.py "
        f"sam2.1_hiera_large.pt --output {tmp_path}"
    )
    assert "download_sam2.py sam2_hiera_tiny.pt" in refused(tmp_path / "sam2_hiera_tiny.pt")
    assert "Hugging Face's model.safetensors" in refused(tmp_path / "none.pt", "micro")
