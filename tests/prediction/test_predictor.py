from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samsod
from samsod import Predictor, SaliencyResult
from samsod.config import Config
from samsod.config.data_schema import ModalityConfig
from samsod.data.decoding.images import cv2, read_rgb, read_saliency
from samsod.data.sources.catalog import find_set
from samsod.engine.checkpoint import load_checkpoint
from samsod.utils.errors import Failure, UserError
from samsod.workflows import test as run_test
from tests.conftest import Save
from tests.places import HANG

CPU = torch.device("cpu")


def images(side: int = 48, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8) for name in ("rgb", "thermal")}


def all_equal(first: Any, second: Any) -> bool:
    maps = zip((first.saliency, *first.streams.values()), (second.saliency, *second.streams.values()), strict=True)
    return list(first.streams) == list(second.streams) and all(np.array_equal(a, b) for a, b in maps)


@pytest.mark.parametrize("plain", [False, True])
def test_maps_are_those_of_test_net_bit_for_bit(config: Config, save: Save, tmp_path: Path, plain: bool) -> None:
    root = Path(config.data.test[0].root)
    for folder, stem in (("RGB", "000.jpg"), ("T", "000.png"), ("GT", "000.png")):  # reduced while it is decoded
        image = np.random.default_rng(7).normal(128, 40, (12, 16)).clip(0, 255).astype(np.uint8)
        large = cv2.resize(image, (256, 192), interpolation=cv2.INTER_CUBIC)
        (root / folder / "000.png").unlink()
        kinds = {"RGB": np.dstack([large, 255 - large, large]), "T": large.astype(np.uint16) * 90 + 7000}
        cv2.imwrite(str(root / folder / stem), kinds.get(folder, (large > 150).astype(np.uint8) * 255))
    config.data.modalities = {"thermal": ModalityConfig(invert=True)}
    settings = replace(config.test, batch_size=3, contact_sheet=0)
    config.test = replace(settings, resize="saliency", normalize_maps=False) if plain else settings
    path = save(config)
    run_test(config, CPU, str(path), tmp_path / "test")
    pairs = find_set(config.data.test[0], "", config.model.modalities).pairs
    predictor = Predictor.from_checkpoint(path, "cpu")
    results = predictor.predict(**{name: [pair.images[name] for pair in pairs] for name in predictor.modalities})
    saved = [read_saliency(tmp_path / "test" / "maps" / "again" / f"{pair.stem}.png") for pair in pairs]
    for result, grey in zip(results, saved, strict=True):
        assert np.array_equal(result.grey(), grey)
        assert result.saliency.dtype == np.float32 and list(result.streams) == ["fusion", "rgb", "thermal"]
        assert plain or (result.saliency.min(), result.saliency.max()) == (0, 1)
    assert saved[0].shape == (192, 256) and saved[1].shape == (48, 48)
    # The same values as arrays.
    values = {name: read_rgb(path) for name, path in pairs[1].images.items()}
    assert all_equal(predictor.predict(**values), predictor.predict(**pairs[1].images))


def test_images_of_a_scene_may_differ_in_size(config: Config, save: Save, tmp_path: Path) -> None:
    root, rng = Path(config.data.test[0].root), np.random.default_rng(7)
    for path, shape in ((root / "T" / "000.png", (70, 40)), (root / "T" / "001.png", (480, 640))):
        cv2.imwrite(str(path), rng.integers(0, 256, shape, np.uint8))
    large = cv2.resize(rng.integers(0, 256, (24, 32), np.uint8), (512, 384))  # reduced while it is decoded
    for folder, ending in (("RGB", "jpg"), ("GT", "png")):
        (root / folder / "002.png").unlink()
        cv2.imwrite(str(root / folder / f"002.{ending}"), (large > 150) * np.uint8(255) if folder == "GT" else large)
    config.data.sizes = "any"
    path = save(config)
    run_test(config, CPU, str(path), tmp_path / "test")
    pairs = find_set(config.data.test[0], "", config.model.modalities).pairs
    predictor = Predictor.from_checkpoint(path, "cpu")
    for pair in pairs[:4]:
        result = predictor.predict(**pair.images)
        assert np.array_equal(result.grey(), read_saliency(tmp_path / "test" / "maps" / "again" / f"{pair.stem}.png"))
        assert result.saliency.shape == ((384, 512) if pair.stem == "002" else (48, 48))
    values = {name: read_rgb(path) for name, path in pairs[1].images.items()}
    assert all_equal(predictor.predict(**values), predictor.predict(**pairs[1].images))
    with pytest.raises(UserError, match=r"T/000\.png has 40x70 pixels, but .*RGB/000\.png has 48x48"):
        Predictor.from_checkpoint(path, "cpu", sizes="equal").predict(**pairs[0].images)
    with pytest.raises(UserError, match="sizes: expected equal or any, found 'all'"):
        Predictor.from_checkpoint(path, "cpu", sizes="all")  # type: ignore[arg-type]


def test_one_image_or_lists_of_any_sizes(config: Config, save: Save) -> None:
    config.test.batch_size = 2
    predictor = Predictor.from_checkpoint(save(config), "cpu")
    scenes = [images(30), images(64), images(20)]
    together = predictor.predict(**{name: [scene[name] for scene in scenes] for name in predictor.modalities})
    assert [result.saliency.shape for result in together] == [(30, 38), (64, 72), (20, 28)]
    assert all(result.seconds > 0 for result in together)
    for result, scene in zip(together, scenes, strict=True):
        alone = predictor.predict(**scene)
        assert isinstance(alone, SaliencyResult)
        np.testing.assert_allclose(alone.saliency, result.saliency, atol=1e-4)
    assert predictor.predict(rgb=[], thermal=[]) == []


def test_values_of_every_type(config: Config, save: Save) -> None:
    predictor = Predictor.from_checkpoint(save(config), "cpu")
    rgb, thermal = images().values()
    grey = thermal[..., 1]
    whole = predictor.predict(rgb=rgb, thermal=grey)
    for kind in (grey[..., None], np.dstack([grey] * 3), torch.from_numpy(grey)):
        assert all_equal(predictor.predict(rgb=rgb, thermal=kind), whole)
    bordered = grey.copy()
    bordered[:, :20] = 0  # as where a camera sees nothing
    for kind in (bordered, np.zeros_like(grey)):
        assert all_equal(
            predictor.predict(rgb=rgb, thermal=kind), predictor.predict(rgb=rgb, thermal=np.dstack([kind] * 3))
        )
    assert all_equal(predictor.predict(rgb=rgb / np.float32(255), thermal=grey), whole)
    assert all_equal(predictor.predict(rgb=rgb.astype(np.uint16) * 257, thermal=grey), whole)
    flipped = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    assert all_equal(predictor.predict(rgb=flipped, thermal=grey), whole)
    kelvin = predictor.predict(rgb=rgb, thermal=grey.astype(np.float64) / 10 + 273)
    # A temperature's own extremes become 0 and 255.
    stretched = predictor.predict(rgb=rgb, thermal=grey.astype(np.uint16) * 10)
    np.testing.assert_allclose(kelvin.saliency, stretched.saliency, atol=0.05)


def test_some_modalities_alone(config: Config, save: Save) -> None:
    path = save(config)
    scene = images()
    with pytest.raises(UserError, match="no thermal image: the model takes rgb, thermal; with allow_missing it does"):
        Predictor.from_checkpoint(path, "cpu").predict(rgb=scene["rgb"], thermal=None)
    predictor = Predictor.from_checkpoint(path, "cpu", allow_missing=True)
    whole, alone = predictor.predict(**scene), predictor.predict(rgb=scene["rgb"], thermal=None)
    assert list(alone.streams) == ["rgb"] and np.array_equal(alone.saliency, alone.streams["rgb"])
    np.testing.assert_allclose(alone.saliency, whole.streams["rgb"], atol=1e-4)
    mixed = predictor.predict(rgb=[scene["rgb"], None], thermal=[scene["thermal"], images(20)["thermal"]])
    assert [list(result.streams) for result in mixed] == [["fusion", "rgb", "thermal"], ["thermal"]]
    assert mixed[1].saliency.shape == (20, 28)
    with pytest.raises(UserError, match="no image: expected one of each of rgb, thermal"):
        predictor.predict(rgb=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rgb": "nowhere.png"}, "^nowhere.png: no such file$"),
        (
            {"themal": 1},
            r"^themal: the model has no such modality \(did you mean 'thermal'\?\); it takes",
        ),
        (
            {"rgb": np.zeros((5, 5), bool)},
            r"^the rgb image: expected a path or numbers .*, found bool of the shape \[5, 5\]$",
        ),
        ({"rgb": np.zeros((5, 0, 3))}, r"found float64 of the shape \[5, 0, 3\]$"),
        ({"rgb": np.zeros((5, 5, 4), np.uint8)}, r"found uint8 of the shape \[5, 5, 4\]$"),
        ({"rgb": np.full((5, 5), 200.0)}, "^the rgb image: expected 8 or 16 bits, or floating point in 0-1$"),
        ({"rgb": np.zeros((5, 5), np.int32)}, "^the rgb image: holds int32 values; only 16 bits are cut to 8"),
        (
            {"rgb": np.zeros((5, 6), np.uint8)},
            r'^the thermal image has 56x48 pixels, but the rgb image has 6x5 \(sizes="any" resizes each on its own\)$',
        ),
        ({"rgb": [np.zeros((5, 6), np.uint8)]}, "lists of one length for all modalities, found rgb: 1, thermal: one"),
    ],
)
def test_what_cannot_be_used_is_named(config: Config, save: Save, given: dict[str, Any], message: str) -> None:
    predictor = Predictor.from_checkpoint(save(config), "cpu")
    with pytest.raises(UserError, match=message):
        predictor.predict(**{**images(), **given})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"device": "gpu"}, r"^device: expected auto, cpu, cuda or one as PyTorch calls it \(cuda:1\), found 'gpu'$"),
        ({"precision": "fp8"}, "^precision: expected fp32 or bf16 or fp16, found 'fp8'$"),
    ],
)
def test_settings_that_are_none(config: Config, save: Save, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Predictor.from_checkpoint(save(config), **setting)


def test_an_image_of_a_list_is_named(config: Config, save: Save) -> None:
    predictor = Predictor.from_checkpoint(save(config), "cpu")
    scene = images()
    with pytest.raises(UserError, match=r"^image 1: nowhere\.png: no such file$"):
        predictor.predict(rgb=[scene["rgb"], "nowhere.png"], thermal=[scene["thermal"]] * 2)


def test_a_prediction_that_is_not_finite_is_a_failure(config: Config, save: Save) -> None:
    predictor = Predictor.from_checkpoint(save(config), "cpu")
    next(predictor.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(Failure, match="image 0: its prediction is not finite"):
        predictor.predict(**images())


def test_threads_get_equal_results_and_memory_stays(config: Config, save: Save) -> None:
    path = save(config)
    state = torch.random.get_rng_state()
    predictor = Predictor.from_checkpoint(path, "cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    scenes = [images(20 + index, index) for index in range(6)]
    alone = [predictor.predict(**scene) for scene in scenes]
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            used, tensors = [], []
            for _ in range(4):
                results = list(pool.map(lambda scene: predictor.predict(**scene), scenes * 3))
                assert all(all_equal(*pair) for pair in zip(results, alone * 3, strict=True))
                del results
                gc.collect()
                used.append(tracemalloc.get_traced_memory()[0])  # NumPy's arrays count there, tensors do not
                tensors.append(sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects()))
    finally:
        tracemalloc.stop()
    assert max(used[2:]) - used[1] < 200_000 and len(set(tensors)) == 1
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_the_encoders_file_is_asked_for(config: Config, save: Save, tmp_path: Path) -> None:
    config.model.weights = "lost/sam2.1_hiera_tiny.pt"
    base = {"file": "sam2.1_hiera_tiny.pt", "size": "tiny", "sha256": "0"}
    path = save(replace(config, model=replace(config.model, weights="")), base=base)
    content = load_checkpoint(path)
    content["config"]["model"] |= {"weights": config.model.weights, "decoder_width": 256}
    torch.save(content, path)
    with pytest.raises(UserError, match=r"on sam2\.1_hiera_tiny\.pt, and lost/sam2.* is no file: say by weights where"):
        Predictor.from_checkpoint(path)
    with pytest.raises(UserError, match=r"holds the encoder it was trained with; leave weights out"):
        Predictor.from_checkpoint(save(config_without_file(config)), weights="sam2.pt")


def config_without_file(config: Config) -> Config:
    return replace(config, model=replace(config.model, weights=""))


def test_a_checkpoint_runs_no_code_it_names(config: Config, save: Save, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    path = save(config)
    content = load_checkpoint(path)
    content["config"]["imports"] = [str(tmp_path / "evil.py")]
    torch.save(content, path)
    Predictor.from_checkpoint(path, "cpu")
    content["config"]["model"]["adapter"]["name"] = "own"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"no adapter is called 'own'.*it was trained with imports: .*evil\.py: import"):
        Predictor.from_checkpoint(path, "cpu")
    content["config"]["model"]["size"] = 3
    torch.save(content, path)
    with pytest.raises(UserError, match=r"best\.pt: model\.size: expected one of micro"):
        Predictor.from_checkpoint(path, "cpu")


def test_masks_and_overlays(tmp_path: Path) -> None:
    saliency = np.array([[0, 0.1, 0.2], [0.5, 0.9, 1]], np.float32)
    result = SaliencyResult(saliency, {}, 0.0)
    assert result.grey().tolist() == [[0, 26, 51], [128, 230, 255]]
    assert result.mask().tolist() == [[False] * 3, [True] * 3]
    assert result.mask(0.9).sum() == 2
    quarter = np.array([[0, 0, 0], [0.5, 0, 1]], np.float32)  # its mean
    assert SaliencyResult(quarter, {}, 0.0).mask("adaptive").tolist() == [[False] * 3, [True, False, True]]
    two = np.array([[0, 0.1, 0.2], [0.8, 0.9, 1]], np.float32)
    assert SaliencyResult(two, {}, 0.0).mask("otsu").tolist() == [[False] * 3, [True] * 3]
    for wrong in ("otso", 1.5):
        with pytest.raises(UserError, match="expected a number from 0 to 1, 'adaptive' or 'otsu', found"):
            result.mask(wrong)
    picture = np.full((2, 3, 3), 100, np.uint8)
    overlay = result.overlay(picture)
    assert overlay[0, 0].tolist() == [100] * 3 and overlay[1, 2].tolist() == [193, 76, 76]
    assert np.array_equal(result.overlay(picture[..., 0]), overlay)
    with pytest.raises(UserError, match="expected an 8-bit image of 3x2 pixels, found uint8 of the shape"):
        result.overlay(picture[:1])


def test_the_package_is_light(tmp_path: Path) -> None:
    asked = "import sys, samsod; print(samsod.__version__, {'torch', 'numpy', 'cv2', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=HANG)
    assert done.stdout == f"{samsod.__version__} set()\n", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'Predicter'"):
        samsod.Predicter  # noqa: B018
