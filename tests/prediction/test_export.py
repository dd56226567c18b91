from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import samsod
from samsod import OnnxPredictor, Predictor
from samsod.config import Config, ModelConfig
from samsod.data.decoding.images import cv2
from samsod.engine.checkpoint import load_checkpoint
from samsod.prediction.export import exporting, graph
from samsod.prediction.export.contract import Contract, metadata_of, output_names, read_metadata
from samsod.utils.errors import Failure, UserError
from tests.conftest import SIZE
from tests.places import HANG, ROOT
from tests.prediction.conftest import ExportedFiles

MAPS = ("final", "fusion", "rgb", "thermal")
ORIGIN: dict[str, Any] = {}


def images(side: int = 48, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8) for name in ("rgb", "thermal")}


def assert_same_maps(first: Any, second: Any) -> None:
    assert list(first.streams) == list(second.streams)
    for name, values in {"saliency": first.saliency, **first.streams}.items():
        other = second.saliency if name == "saliency" else second.streams[name]
        assert values.dtype == other.dtype == np.float32
        np.testing.assert_allclose(values, other, atol=1e-4, err_msg=name)


def with_test(predictor: Any, **settings: Any) -> Any:
    predictor.config = replace(predictor.config, test=replace(predictor.config.test, **settings))
    return predictor


@pytest.mark.parametrize("settings", [{}, {"resize": "saliency", "normalize_maps": False}])
def test_onnx_predictor_gives_what_predictor_gives(
    exported: ExportedFiles, tmp_path: Path, settings: dict[str, Any]
) -> None:
    ours = with_test(Predictor.from_checkpoint(exported.checkpoint, "cpu"), **settings)
    theirs = with_test(OnnxPredictor.from_file(exported.onnx, threads=1), **settings)
    assert theirs.modalities == ours.modalities and theirs.batch_size == ours.batch_size == 2
    scenes = [images(side, side) for side in (30, 64, 90)]
    scenes[1] = {name: tmp_path / f"{name}.png" for name in scenes[1]}  # type: ignore[misc]
    thermal = np.random.default_rng(0).integers(7000, 30000, (50, 40)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "rgb.png"), images(64)["rgb"][:50, :40])
    cv2.imwrite(str(tmp_path / "thermal.png"), thermal)
    lists = {name: [scene[name] for scene in scenes] for name in ours.modalities}
    for first, second in zip(ours.predict(**lists), theirs.predict(**lists), strict=True):
        assert_same_maps(first, second)
        assert first.saliency.max() - first.saliency.min() > 0.01
    assert_same_maps(ours.predict(**scenes[1]), theirs.predict(**scenes[1]))


def test_no_pytorch_is_imported(exported: ExportedFiles, tmp_path: Path) -> None:
    scene = images(70)
    np.savez(tmp_path / "scene.npz", **scene)  # type: ignore[arg-type]
    program = """
import sys, numpy, samsod
onnx, scene, out = sys.argv[1:]
result = samsod.OnnxPredictor.from_file(onnx, threads=1).predict(**numpy.load(scene))
numpy.savez(out, saliency=result.saliency, mask=result.mask("otsu"), **result.streams)
print({"torch", "sam2", "torchvision"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program, exported.onnx, tmp_path / "scene.npz", tmp_path / "out.npz"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=HANG)
    assert (done.stdout, done.stderr) == ("set()\n", "")
    maps = dict(np.load(tmp_path / "out.npz"))
    expected = Predictor.from_checkpoint(exported.checkpoint, "cpu").predict(**scene)
    assert np.mean(maps.pop("mask") != expected.mask("otsu")) < 0.01
    assert_same_maps(samsod.SaliencyResult(maps.pop("saliency"), maps, 0.0), expected)


def test_the_file_says_what_goes_in_and_what_comes_out(exported: ExportedFiles) -> None:
    model = onnx.load(exported.onnx)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    known = {key.removeprefix("samsod."): value for key, value in metadata.items()}
    assert known.pop("format") == "samsod-export-1"
    told = {key: json.loads(value) for key, value in known.items()}
    assert told["opset"] == model.opset_import[0].version == 20
    assert told["config"] == load_checkpoint(exported.checkpoint)["config"]
    assert told["origin"] == {"file": "best.pt", "sha256": "0" * 64}
    assert list(told["inputs"]) == ["rgb", "thermal"] == [item.name for item in model.graph.input]
    assert list(told["outputs"]) == output_names(MAPS) == [item.name for item in model.graph.output]
    assert told["inputs"]["rgb"]["subtract"] == [0.485, 0.456, 0.406]
    assert told["inputs"]["rgb"]["reading"]["scale"] == "cut"
    assert told["inputs"]["thermal"]["then_divide_by"] == [1, 1, 1]
    assert told["inputs"]["thermal"]["reading"]["scale"] == "image"
    for item in (*model.graph.input, *model.graph.output):
        first, *rest = item.type.tensor_type.shape.dim
        contract = (told["inputs"] | told["outputs"])[item.name]
        assert first.dim_param and ["batch", *(side.dim_value for side in rest)] == contract["shape"]
    assert [step.split()[0] for step in told["left_to_the_caller"]] == ["resize", "take", "stretch"]
    assert str(ROOT) not in exported.onnx.read_bytes().decode("latin-1")
    contract = read_metadata(metadata, "model.onnx")
    assert asdict(contract.config) == told["config"] and contract.maps == MAPS


def test_the_contract_is_enough_without_samsod(exported: ExportedFiles) -> None:
    """Square images prepared as the metadata says, in plain NumPy and onnxruntime."""
    session = onnxruntime.InferenceSession(str(exported.onnx), providers=["CPUExecutionProvider"])
    inputs = json.loads(session.get_modelmeta().custom_metadata_map["samsod.inputs"])
    scenes = [{name: image[:SIZE, :SIZE] for name, image in images(SIZE, seed).items()} for seed in range(3)]
    batch = {}
    for name, said in inputs.items():
        values = np.stack([scene[name] for scene in scenes]) / said["divide_by"]
        values = (values - said["subtract"]) / said["then_divide_by"]
        batch[name] = values.transpose(0, 3, 1, 2).astype(np.float32)
    maps = dict(zip(output_names(MAPS), session.run(output_names(MAPS), batch), strict=True))
    model = Predictor.from_checkpoint(exported.checkpoint, "cpu").model
    with torch.no_grad():
        prediction = model({name: torch.from_numpy(values) for name, values in batch.items()})
    np.testing.assert_allclose(maps["saliency_final"], prediction.saliency().numpy(), atol=1e-5)
    for name, logits in prediction.streams.items():
        np.testing.assert_allclose(maps[f"logits_{name}"], logits.numpy(), atol=1e-4)
        np.testing.assert_allclose(maps[f"saliency_{name}"], logits.sigmoid().numpy(), atol=1e-5)


def test_each_runtime_was_checked(exported: ExportedFiles) -> None:
    done = exported.onnx_done
    assert list(done.differences) == ["onnxruntime", "OpenVINO"] and max(done.differences.values()) < 1e-5
    assert done.size == exported.onnx.stat().st_size and done.checked_on == "3 of made-up images"
    assert list(exported.pt2_done.differences) == ["torch.export"]
    assert [item.name for item in exported.onnx.parent.iterdir()] == ["model.onnx"]


def test_pytorchs_own_file(exported: ExportedFiles) -> None:
    module, metadata = exported.pt2_opened
    assert list(json.loads(metadata["samsod.inputs"])) == ["rgb", "thermal"]
    assert read_metadata(metadata, exported.pt2).maps == MAPS
    predictor = Predictor.from_checkpoint(exported.checkpoint, "cpu")
    scenes = [predictor.read(images(40, seed)) for seed in range(5)]
    batch = {name: torch.from_numpy(np.stack([scene.images[name] for scene in scenes])) for name in MAPS[2:]}
    maps = module(batch)
    assert list(maps) == output_names(MAPS)
    for row, logits in enumerate(predictor.infer(scenes, streams=True)):
        for name, values in logits.items():
            np.testing.assert_allclose(maps[f"logits_{name}"][row, 0], values, atol=1e-4)


def test_some_modalities_alone(exported: ExportedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is traced of them, without the time that tracing takes."""
    predictor = Predictor.from_checkpoint(exported.checkpoint, "cpu", allow_missing=True)
    traced: dict[str, Any] = {}

    def write(_: Any, contract: Contract, metadata: Any, path: Path) -> None:
        traced.update(metadata, maps=contract.maps)
        path.write_bytes(b"model")

    def run(batch: Any) -> Any:
        assert list(batch) == ["thermal"]
        return {
            name: values.numpy()
            for name, values in traced["graph"]({"thermal": torch.from_numpy(batch["thermal"])}).items()
        }

    monkeypatch.setattr(exporting, "trace", lambda graph, _: traced.update(graph=graph))
    monkeypatch.setattr(exporting, "write", write)
    monkeypatch.setattr(exporting, "runtimes", lambda *_: {"PyTorch": lambda _: run})
    done = exporting.export_model(predictor, tmp_path / "m.pt2", ORIGIN, ["thermal"])
    assert done.differences == {"PyTorch": 0} and traced["maps"] == ("final", "thermal")
    assert list(json.loads(traced["samsod.inputs"])) == ["thermal"]
    scene = images()["thermal"]
    maps = traced["graph"]({"thermal": torch.from_numpy(predictor.read({"thermal": scene}).images["thermal"])[None]})
    expected = predictor.infer([predictor.read({"thermal": scene})])[0]["final"]
    np.testing.assert_allclose(maps["logits_final"][0, 0], expected, atol=1e-5)


@pytest.mark.slow
def test_one_modality_from_the_command_line(exported: ExportedFiles, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools" / "export.py", "--checkpoint", exported.checkpoint]
    command += ["--output", tmp_path / "rgb.onnx", "--modalities", "rgb", "--openvino"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0 and not done.stderr, done.stderr
    scene = images()["rgb"]
    predictor = Predictor.from_checkpoint(exported.checkpoint, "cpu", allow_missing=True)
    assert_same_maps(OnnxPredictor.from_file(tmp_path / "rgb.onnx").predict(rgb=scene), predictor.predict(rgb=scene))


def test_images_that_differ_in_size(exported: ExportedFiles) -> None:
    scene = {"rgb": images(48)["rgb"], "thermal": images(31)["thermal"]}
    predictors = [
        Predictor.from_checkpoint(exported.checkpoint, "cpu", sizes="any"),
        OnnxPredictor.from_file(exported.onnx, sizes="any"),
    ]
    assert_same_maps(*(predictor.predict(**scene) for predictor in predictors))
    with pytest.raises(UserError, match=r"^sizes: expected equal or any, found 'some'$"):
        OnnxPredictor.from_file(exported.onnx, sizes="some")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the thermal image has 39x31 pixels, but the rgb image has 56x48"):
        OnnxPredictor.from_file(exported.onnx).predict(**scene)


def test_no_modality_is_called_as_an_output_is() -> None:
    config = Config(model=ModelConfig(modalities=["rgb", "logits_rgb"]))
    with pytest.raises(UserError, match=r"^the modality 'logits_rgb' is called as an output is; it cannot"):
        metadata_of(Contract(config, ("rgb", "logits_rgb"), ("final", "rgb")), ORIGIN)


def falsify(model: torch.nn.Module) -> None:
    next(p for key, p in model.named_parameters() if key.endswith("conv_s0.bias")).data += 0.3


def make_infinite(model: torch.nn.Module) -> None:
    next(model.parameters()).data.fill_(float("nan"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (falsify, r"saliency_final differs from PyTorch's by \d\.\de-0\d, more than 1\.0e-04$"),
        (make_infinite, "by nan"),
    ],
)
def test_what_does_not_agree_gets_no_name(
    exported: ExportedFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[torch.nn.Module], None],
    said: str,
) -> None:
    predictor = Predictor.from_checkpoint(exported.checkpoint, "cpu")
    change(predictor.model)
    monkeypatch.setattr(exporting, "trace", lambda *_: None)
    monkeypatch.setattr(exporting, "write", lambda *items: shutil.copyfile(exported.onnx, items[-1]))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    with pytest.raises(Failure, match=f"model.onnx: not written: in onnxruntime .*{said}"):
        exporting.export_model(predictor, path, ORIGIN)
    assert path.read_bytes() == b"before" and [item.name for item in tmp_path.iterdir()] == ["model.onnx"]
    monkeypatch.setattr(exporting, "write", lambda *items: shutil.copyfile(exported.checkpoint, items[-1]))
    with pytest.raises(UserError, match=r"model\.onnx: damaged, or no ONNX model \("):
        exporting.export_model(predictor, path, ORIGIN)
    assert path.read_bytes() == b"before" and [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


def test_what_it_is_checked_on(exported: ExportedFiles, config: Config, tmp_path: Path) -> None:
    predictor = Predictor.from_checkpoint(exported.checkpoint, "cpu")
    scenes, called = exporting._scenes(predictor, ["thermal"], {})
    assert called == "3 of made-up images" and list(scenes[0].images) == ["thermal"]
    predictor.config = replace(predictor.config, data=config.data)
    scenes, called = exporting._scenes(predictor, ["rgb", "thermal"], {})
    assert called == "3 of again" and scenes[0].shape == (48, 48)
    root = Path(config.data.test[0].root)
    scenes, called = exporting._scenes(predictor, ["rgb"], {"rgb": str(root / "RGB" / "003.png")})
    assert called == "1 of the given images" and list(scenes[0].images) == ["rgb"]
    with pytest.raises(UserError, match=r"^no --thermal: to check the file, images of rgb, thermal are needed$"):
        exporting._scenes(predictor, ["rgb", "thermal"], {"rgb": str(root / "RGB")})
    with pytest.raises(UserError, match="--thermal: the model takes rgb"):
        exporting._scenes(predictor, ["rgb"], {"rgb": str(root / "RGB"), "thermal": str(root / "T")})


def test_a_model_that_cannot_be_exported_is_one_line(exported: ExportedFiles) -> None:
    predictor = Predictor.from_checkpoint(exported.checkpoint, "cpu")
    predictor.model.forward = lambda images, _: torch.zeros(int(images["rgb"].sum()))  # type: ignore
    with pytest.raises(UserError, match=r"^the model cannot be exported: \w+: .*$"):
        graph.trace(graph.Graph(predictor.model, ["rgb"]), SIZE)


@pytest.mark.parametrize(
    ("missing", "call", "said"),
    [
        (None, lambda folder: exporting.check_export(folder / "m.pt", False), r"m\.pt: expected a name that ends in"),
        (None, lambda folder: exporting.check_export(folder / "m.pt2", True), r"m\.pt2: OpenVINO reads \.onnx files"),
        (None, lambda folder: exporting.check_export(folder, False), "expected a name that ends in"),
        ("onnxscript", lambda folder: exporting.check_export(folder / "m.onnx", False), r"install 'samsod\[export\]'"),
        ("openvino", lambda folder: exporting.check_export(folder / "m.onnx", True), "pip install openvino"),
        ("onnxruntime", lambda folder: OnnxPredictor.from_file(folder / "m.onnx"), "pip install onnxruntime$"),
        (None, lambda folder: OnnxPredictor.from_file(folder / "m.onnx"), r"m\.onnx: no such file; expected"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str | None, call: Callable[[Path], Any], said: str
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=said) as error:
        call(tmp_path)
    assert len(error.value.args) == 1


def test_files_and_images_that_cannot_be_used(exported: ExportedFiles, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [result]), ir_version=10)
    model.opset_import[0].version = 20
    onnx.save(model, other)
    with pytest.raises(UserError, match=r"other\.onnx: not an exported model of the format samsod-export-1; expected"):
        OnnxPredictor.from_file(other)
    other.write_bytes(exported.onnx.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"other\.onnx: damaged, or no ONNX model"):
        OnnxPredictor.from_file(other)
    with pytest.raises(UserError, match=r"this onnxruntime has no NpuProvider; it has .*CPUExecutionProvider"):
        OnnxPredictor.from_file(exported.onnx, ["NpuProvider"])
    with pytest.raises(UserError, match="altered or damaged"):
        read_metadata({"samsod.format": "samsod-export-1", "samsod.inputs": "{"}, other)
    predictor = OnnxPredictor.from_file(exported.onnx)
    with pytest.raises(UserError, match="no thermal image: the model takes rgb, thermal; export one without it by"):
        predictor.predict(rgb=images()["rgb"])
    with pytest.raises(UserError, match=r"--modalities: 'themal' is none of .* \(did you mean 'thermal'"):
        exporting._chosen(["themal"], predictor.modalities)
    assert exporting._chosen(["thermal", "rgb"], ("rgb", "thermal")) == ("rgb", "thermal")
