"""Checkpoints written to be shared, and read by `Predictor`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from samsod import Predictor
from samsod.config import Config
from samsod.config.data_schema import ModalityConfig
from samsod.engine.checkpoint import base_of, load_checkpoint, save_checkpoint
from samsod.modeling.samsod import Samsod
from samsod.prediction.files import predict_files
from samsod.prediction.folder import PredictionFolder
from samsod.utils.errors import UserError
from samsod.workflows import load_model, share
from tests.conftest import Save
from tests.engine.test_checkpoint import official_file
from tests.prediction.test_predictor import all_equal, images


@pytest.fixture
def shared(config: Config, save: Save, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint with settings of its own, and the folder made of it."""
    config.data.modalities = {"thermal": ModalityConfig(invert=True)}
    config.test = replace(config.test, resize="saliency", normalize_maps=False)
    config.data.sizes = "any"
    path = save(config, optimizer={"lr": 1}, step=3, best=0.5, best_step=3)
    share(str(path), tmp_path / "shared")
    return path, tmp_path / "shared"


def edit(folder: Path, **model: Any) -> None:
    """Changes tensors; None takes one away."""
    tensors = load_file(folder / "model.safetensors") | model
    save_file({key: value for key, value in tensors.items() if value is not None}, folder / "model.safetensors")


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        Predictor.from_checkpoint(folder, "cpu", **options)
    return str(caught.value)


def test_predictions_are_the_checkpoints_bit_for_bit(shared: tuple[Path, Path]) -> None:
    path, folder = shared
    scene = {"rgb": images(48)["rgb"], "thermal": images(30)["thermal"]}
    one, two = (Predictor.from_checkpoint(place, "cpu").predict(**scene) for place in (path, folder))
    assert all_equal(one, two) and (one.saliency.min(), one.saliency.max()) != (0, 1)


def test_it_says_nothing_of_the_machine_it_was_trained_on(shared: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = shared
    stored = json.loads((folder / "config.json").read_text())
    assert stored["config"]["data"]["train"] == [{"family": "folders", "split": "", "name": "pairs"}]
    assert stored["step"] == 3 and not {"optimizer", "data_id", "random"} & stored.keys()
    assert all(str(tmp_path) not in (folder / name).read_text() for name in ("config.json", "README.md"))


def test_tensors_that_do_not_fit_are_named(shared: tuple[Path, Path]) -> None:
    _, folder = shared
    tensors = load_file(folder / "model.safetensors")
    first, second, third = sorted(tensors)[:3]
    edit(folder, **{first: None, second: torch.zeros(2, 9), "extra.weight": torch.zeros(1)})
    message = refused(folder)
    assert message.startswith(f"{folder}: does not fit the configured model") and "\n" not in message
    for part in (f"1 missing ({first})", "1 unexpected (extra.weight)", f"{second} is [2, 9], expected"):
        assert part in message
    save_file(tensors, folder / "model.safetensors")
    edit(folder, **{third: tensors[third] + 1e-6})
    assert "its model.safetensors is damaged or was altered" in refused(folder)
    save_file({key: value.half() for key, value in tensors.items()}, folder / "model.safetensors")
    assert "its model.safetensors is damaged or was altered" in refused(folder)


def test_settings_this_version_does_not_know_are_named(shared: tuple[Path, Path]) -> None:
    _, folder = shared
    stored = json.loads((folder / "config.json").read_text())
    stored["config"]["model"]["adaptor"] = {}
    (folder / "config.json").write_text(json.dumps(stored))
    message = refused(folder)
    assert str(folder) in message and "model.adaptor" in message and "adapter" in message
    (folder / "config.json").write_text(json.dumps({**stored, "format": "samsod-checkpoint-9"}))
    assert "not a samsod checkpoint of the format samsod-checkpoint-2, but samsod-checkpoint-9" in refused(folder)
    (folder / "config.json").unlink()
    assert refused(folder).endswith("train_net.py, or a folder of tools/inspect_checkpoint.py --export")


def test_no_pickle_is_read(shared: tuple[Path, Path], tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    _, folder = shared
    torch.save(Bomb(), folder / "model.safetensors")
    assert "no safetensors file" in refused(folder) and not (tmp_path / "executed").exists()


def test_a_frozen_encoder_is_named_or_included(config: Config, tmp_path: Path) -> None:
    file = official_file(tmp_path / "sam2_micro.pt", config.model, 1)
    config.model = replace(config.model, decoder_width=256, freeze_encoder=True, weights=str(file))
    model = Samsod(config.model)
    base = base_of(model)
    assert base is not None
    save_checkpoint(tmp_path / "k.pt", {"model": model.saved_state(), "base": base, "config": asdict(config)})
    expected = Predictor.from_checkpoint(tmp_path / "k.pt", "cpu").predict(**images())
    share(str(tmp_path / "k.pt"), tmp_path / "small")
    file = file.rename(tmp_path / "moved.pt")
    share(str(tmp_path / "k.pt"), tmp_path / "whole", with_encoder=True, weights=str(file))
    assert "and sam2_micro.pt is no file: say by weights where that file is" in refused(tmp_path / "small")
    small = Predictor.from_checkpoint(tmp_path / "small", "cpu", weights=file)
    assert all_equal(small.predict(**images()), expected)
    file.unlink()
    assert all_equal(Predictor.from_checkpoint(tmp_path / "whole", "cpu").predict(**images()), expected)
    kept, all_of_it = (load_checkpoint(tmp_path / name) for name in ("small", "whole"))
    assert kept["base"] == base == all_of_it["included"] and all_of_it["base"] is None
    assert kept["model"].keys() == model.saved_state().keys() and all_of_it["model"].keys() == model.state_dict().keys()
    card = (tmp_path / "small" / "README.md").read_text()
    assert "`sam2_micro.pt`" in card and base["sha256"] in card and "began with SAM2's" in card
    assert "is included" in (tmp_path / "whole" / "README.md").read_text()


def test_what_reads_checkpoints_reads_the_folder(config: Config, shared: tuple[Path, Path], tmp_path: Path) -> None:
    path, folder = shared
    load_model(config, load_checkpoint(folder), str(folder))
    share(str(folder), tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    root = Path(config.data.test[0].root)
    sources = {name: str(root / kind / "000.png") for name, kind in (("rgb", "RGB"), ("thermal", "T"))}
    for source, name in ((path, "one"), (folder, "two")):
        predictor = Predictor.from_checkpoint(source, "cpu")
        predict_files(predictor, source, sources, PredictionFolder(tmp_path / name), threads=0)
    maps = [(tmp_path / name / "maps" / "000.png").read_bytes() for name in ("one", "two")]
    assert maps[0] == maps[1]


def test_odd_checkpoints_and_options_are_one_line(config: Config, save: Save, tmp_path: Path) -> None:
    path = save(config)
    content = load_checkpoint(path)
    content["config"]["loss"]["options"] = {"window": torch.zeros(1)}
    torch.save(content, path)
    with pytest.raises(UserError, match=r"best\.pt: altered or damaged: it holds what no JSON can"):
        share(str(path), tmp_path / "odd")
    with pytest.raises(UserError, match=r"nowhere/results\.json: no such file"):
        share(str(save(config)), tmp_path / "odd", tested=str(tmp_path / "nowhere"))
    assert not (tmp_path / "odd").exists()
