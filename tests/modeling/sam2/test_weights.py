"""Against sam2's own model; checkpoints are in Meta's format, made from sam2's random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samsod.benchmarks.cost import Unfilled
from samsod.config import ModelConfig
from samsod.modeling.sam2.weights import KEYS, meta_state
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError
from tests.modeling.sam2.official import SIDE, official, official_file


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("official")


def loaded(path: Path, size: str = "tiny", **settings: Any) -> Samsod:
    return Samsod(ModelConfig(size=size, weights=str(path), **settings)).eval()  # type: ignore[arg-type]


def pair(model: Samsod, images: Tensor) -> dict[str, Tensor]:
    return model({"rgb": images, "thermal": images}).streams


@pytest.mark.parametrize("generation", ["sam2", "sam2.1"])
def test_official_weights_reproduce_sam2s_features_and_mask(folder: Path, generation: str) -> None:
    model = loaded(official_file("tiny", folder, generation))
    theirs = official("tiny", generation)
    images = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        logits = model.decode(model.encode(images, "rgb"))
        expected = sam2_mask(theirs, images)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def sam2_mask(theirs: Any, images: Tensor) -> Tensor:
    """What sam2's image predictor does without prompts, through sam2's own methods."""
    _, features, _, sizes = theirs._prepare_backbone_features(theirs.forward_image(images))
    features[-1] = features[-1] + theirs.no_mem_embed
    maps = [f.permute(1, 2, 0).view(1, -1, *size) for f, size in zip(features, sizes, strict=True)]
    sparse, dense = theirs.sam_prompt_encoder(points=None, boxes=None, masks=None)
    masks, *_ = theirs.sam_mask_decoder(
        image_embeddings=maps[-1],
        image_pe=theirs.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
        repeat_image=False,
        high_res_features=maps[:-1],
    )
    return nn.functional.interpolate(masks, images.shape[-2:], mode="bilinear", align_corners=False)


def test_dense_prompt_is_a_switch(folder: Path) -> None:
    path = official_file("tiny", folder)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        with_prompt, without = (pair(loaded(path, dense_prompt=on), images)["rgb"] for on in (True, False))
    assert not torch.allclose(with_prompt, without)


def test_every_used_part_is_loaded(folder: Path) -> None:
    state = torch.load(official_file("tiny", folder), weights_only=True)["model"]
    model = loaded(official_file("tiny", folder))
    ours = meta_state(model.encoder, model.decoder)  # type: ignore[arg-type]
    assert len(ours) == len(model.encoder.state_dict()) + len(model.decoder.state_dict())
    assert {next(key for key in KEYS.values() if name.startswith(key)) for name in ours} == set(KEYS.values())
    for name, value in ours.items():
        assert torch.equal(value, state[name]), name


def one_line(path: Path | str, **settings: Any) -> str:
    try:
        loaded(path, **settings)  # type: ignore[arg-type]
    except UserError as error:  # pytest.raises would keep the model with the traceback
        assert "\n" not in str(error) and str(path) in str(error)
        return str(error)
    pytest.fail(f"{path} was taken")


def test_another_size_is_named(folder: Path) -> None:
    path = official_file("tiny", folder)
    with Unfilled():
        message = one_line(path, size="large")
    assert "holds SAM2 tiny, but model.size asks for large" in message


def test_damaged_and_foreign_files_are_one_line(folder: Path, tmp_path: Path) -> None:
    data = official_file("tiny", folder).read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.pt").write_text("no checkpoint")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "foreign.pt")
    assert "damaged, or no checkpoint" in one_line(tmp_path / "cut.pt")
    assert "damaged, or no checkpoint" in one_line(tmp_path / "text.pt")
    assert "no such file" in one_line(tmp_path / "none.pt")
    assert "holds no SAM2 model" in one_line(tmp_path / "other.pt")
    assert "holds no SAM2 image encoder" in one_line(tmp_path / "foreign.pt")


def test_missing_unexpected_and_reshaped_keys_are_listed(folder: Path, tmp_path: Path) -> None:
    state = dict(torch.load(official_file("tiny", folder), weights_only=True)["model"])
    del state["image_encoder.neck.convs.0.conv.bias"]
    state["sam_mask_decoder.extra"] = torch.zeros(1)
    state["no_mem_embed"] = torch.zeros(1, 1, 8)
    torch.save({"model": state}, tmp_path / "odd.pt")
    message = one_line(tmp_path / "odd.pt")
    assert "1 missing (image_encoder.neck.convs.0.conv.bias)" in message
    assert "1 unexpected (sam_mask_decoder.extra)" in message
    assert "no_mem_embed is [1, 1, 8], expected [1, 1, 256]" in message


def test_a_file_in_pytorchs_older_format_is_loaded(folder: Path, tmp_path: Path) -> None:
    state = torch.load(official_file("tiny", folder), weights_only=True)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    ours, theirs = (loaded(path).encoder.state_dict() for path in (tmp_path / "old.pt", official_file("tiny", folder)))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_a_pickle_that_runs_code_is_refused_unexecuted(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    one_line(tmp_path / "bomb.pt")
    assert not (tmp_path / "executed").exists()
