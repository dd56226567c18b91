from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from samsod.config import ModelConfig
from samsod.engine import checkpoint
from samsod.modeling.sam2.hugging_face import hugging_face_key
from samsod.modeling.sam2.weights import meta_state
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError


def save(model: Samsod, path: Path) -> Path:
    content = {"model": checkpoint.model_state(model), "base": checkpoint.base_of(model), "step": 1}
    checkpoint.save_checkpoint(path, content)
    return path


def one_line(path: Path, model: Samsod) -> str:
    with pytest.raises(UserError) as caught:
        checkpoint.load_model_state(model, checkpoint.load_checkpoint(path), path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_come_back(model_config: ModelConfig, tmp_path: Path) -> None:
    model, other = Samsod(model_config), Samsod(model_config)
    path = save(model, tmp_path / "a.pt")
    checkpoint.load_model_state(other, checkpoint.load_checkpoint(path), path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def official_file(path: Path, model_config: ModelConfig, seed: int) -> Path:
    """A file in Meta's format for the micro model."""
    torch.manual_seed(seed)
    model = Samsod(replace(model_config, decoder_width=256))
    state = meta_state(model.encoder, model.decoder)  # type: ignore[arg-type]
    torch.save({"model": state}, path)
    return path


def test_a_frozen_encoder_from_a_file_is_not_stored_but_checked(model_config: ModelConfig, tmp_path: Path) -> None:
    first, second = (official_file(tmp_path / f"{name}.pt", model_config, seed) for name, seed in (("a", 1), ("b", 2)))
    settings = replace(model_config, decoder_width=256, freeze_encoder=True, weights=str(first))
    path = save(Samsod(settings), tmp_path / "run.pt")
    stored = checkpoint.load_checkpoint(path)
    assert {key.partition(".")[0] for key in stored["model"]} == {"adapters", "decoder"}
    assert stored["base"]["file"] == "a.pt" and len(stored["base"]["sha256"]) == 64
    checkpoint.load_model_state(Samsod(settings), stored, path)
    message = one_line(path, Samsod(replace(settings, weights=str(second))))
    assert "a.pt" in message and "b.pt" in message
    assert "set model.weights to a.pt" in one_line(path, Samsod(replace(settings, weights="")))


def test_the_same_weights_in_another_form_of_file_are_known(model_config: ModelConfig, tmp_path: Path) -> None:
    meta = official_file(tmp_path / "a.pt", model_config, 1)
    state = torch.load(meta, weights_only=True)["model"]
    hub, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    save_file({hugging_face_key(key): value for key, value in state.items()}, hub)
    state["image_encoder.trunk.pos_embed"] += 1
    save_file({hugging_face_key(key): value for key, value in state.items()}, other)
    settings = replace(model_config, decoder_width=256, freeze_encoder=True, weights=str(meta))
    path = save(Samsod(settings), tmp_path / "run.pt")
    content, from_hub = checkpoint.load_checkpoint(path), Samsod(replace(settings, weights=str(hub)))
    checkpoint.load_model_state(from_hub, content, path)
    message = one_line(path, Samsod(replace(settings, weights=str(other))))
    assert "a.pt" in message and "other.safetensors" in message
    del content["base"]["tensors"]  # as older checkpoints have it: only the file itself is known
    with pytest.raises(UserError, match=r"but model\.weights is model\.safetensors"):
        checkpoint.load_model_state(from_hub, content, path)


def test_a_random_frozen_encoder_is_stored(model_config: ModelConfig) -> None:
    state = checkpoint.model_state(Samsod(replace(model_config, freeze_encoder=True)))
    assert any(key.startswith("encoder.trunk.") for key in state)


def test_keys_that_do_not_fit_are_all_listed(model_config: ModelConfig, tmp_path: Path) -> None:
    path = save(Samsod(model_config), tmp_path / "a.pt")
    content = dict(checkpoint.load_checkpoint(path))
    state = content["model"]
    del state["encoder.neck.convs.0.conv.bias"]
    state["extra"] = torch.zeros(1)
    state["encoder.trunk.pos_embed"] = torch.zeros(1, 1)
    checkpoint.save_checkpoint(path, {key: content[key] for key in ("model", "base")})
    message = one_line(path, Samsod(model_config))
    for part in (
        "1 missing (encoder.neck.convs.0.conv.bias)",
        "1 unexpected (extra)",
        "encoder.trunk.pos_embed is [1, 1], expected",
    ):
        assert part in message


def test_files_that_are_no_checkpoint_are_one_line(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("hello")
    good = tmp_path / "good.pt"
    checkpoint.save_checkpoint(good, {"model": {"a": torch.zeros(1000)}})
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:2000])
    for name, part in {"other": "not a samsod", "text": "damaged", "cut": "damaged", "none": "no such"}.items():
        with pytest.raises(UserError, match=part) as caught:
            checkpoint.load_checkpoint(tmp_path / f"{name}.pt")
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_flipped_bytes_are_found_in_samsods_files_and_in_sam2s(model_config: ModelConfig, tmp_path: Path) -> None:
    path = save(Samsod(model_config), tmp_path / "a.pt")
    official = official_file(tmp_path / "sam2.pt", model_config, seed=1)
    for file in (path, official):
        data, model = bytearray(file.read_bytes()), torch.load(file, weights_only=True)["model"]
        data[data.index(max(model.values(), key=torch.Tensor.numel).numpy().tobytes()) + 9] ^= 4
        file.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.pt: damaged.*fails its checksum"):
        checkpoint.load_checkpoint(path)
    with pytest.raises(UserError, match=r"sam2\.pt: damaged.*fails its checksum"):
        Samsod(replace(model_config, decoder_width=256, weights=str(official)))


def test_versions_are_looked_up_once_and_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2", "SAM-2": "1.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(checkpoint, "version", version)
    checkpoint.versions.cache_clear()
    expected = {"samsod": "unknown", "torch": "2", "sam2": "1.0", "numpy": "unknown"}
    assert checkpoint.versions() == expected
    installed.clear()
    assert checkpoint.versions() == expected
    checkpoint.versions.cache_clear()


def test_a_pickle_that_runs_code_is_refused_unexecuted(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"format": checkpoint.FORMAT, "model": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(UserError):
        checkpoint.load_checkpoint(tmp_path / "bomb.pt")
    assert not (tmp_path / "executed").exists()


def test_a_save_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save_checkpoint(path, {"step": 1})

    def fail(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save_checkpoint(path, {"step": 2})
    assert checkpoint.load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_newest_and_best(tmp_path: Path) -> None:
    for step in (5, 40, 300):
        checkpoint.save_checkpoint(checkpoint.step_path(tmp_path, step), {"step": step})
    (tmp_path / ".step_99999999.pt.partial").write_text("half")
    assert checkpoint.newest(tmp_path) == checkpoint.step_path(tmp_path, 300)
    checkpoint.mark_best(checkpoint.step_path(tmp_path, 5), tmp_path / "best.pt")
    (tmp_path / "step_00000999 (copy).pt").write_text("of the user's")
    assert checkpoint.newest(tmp_path) == checkpoint.step_path(tmp_path, 300)
    assert checkpoint.newest(tmp_path, checkpoint.step_path(tmp_path, 300)) == checkpoint.step_path(tmp_path, 40)
    assert checkpoint.load_checkpoint(tmp_path / "best.pt")["step"] == 5
    assert checkpoint.newest(tmp_path / "nowhere") is None
