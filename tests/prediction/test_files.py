from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samsod.config import Config
from samsod.data.decoding.images import cv2, read_rgb, read_saliency
from samsod.prediction.files import Summary, predict_files
from samsod.prediction.folder import PredictionFolder
from samsod.prediction.predictor import Predictor
from samsod.utils.errors import Failure, UserError
from samsod.utils.files import locked
from samsod.workflows import test as run_test
from tests.conftest import Save, write_pairs
from tests.ranks import run_ranks


def predict(path: Path, sources: dict[str, Any], output: Path, missing: bool = False, **settings: Any) -> Summary:
    options = {key: settings.pop(key) for key in ("threshold", "pictures") if key in settings}
    predictor = Predictor.from_checkpoint(path, "cpu", allow_missing=missing)
    named = {name: str(place) for name, place in sources.items()}
    return predict_files(predictor, path, named, PredictionFolder(output, **options), **settings)


def sources_of(config: Config) -> dict[str, Path]:
    root = Path(config.data.test[0].root)
    return {"rgb": root / "RGB", "thermal": root / "T"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("threads", [0, 2])
def test_maps_are_those_of_test_net(config: Config, save: Save, tmp_path: Path, threads: int) -> None:
    config.test = replace(config.test, batch_size=5, contact_sheet=0)
    path, out = save(config), tmp_path / "out"
    run_test(config, torch.device("cpu"), str(path), tmp_path / "test")
    done = predict(path, sources_of(config), out, threads=threads, threshold="adaptive", pictures=["overlays"])
    assert done == (12, 0, [])
    expected = [f"{index:03d}.png" for index in range(12)]
    assert names(out / "maps") == names(out / "masks") == names(out / "overlays") == expected
    for name in expected:
        grey = read_saliency(out / "maps" / name)
        assert (out / "maps" / name).read_bytes() == (tmp_path / "test" / "maps" / "again" / name).read_bytes()
        mask = cv2.imread(str(out / "masks" / name), cv2.IMREAD_UNCHANGED)
        assert mask is not None and set(np.unique(mask)) == {0, 255} and grey[mask > 0].min() >= grey[mask == 0].max()
    picture, overlay = (
        read_rgb(place / "000.png").astype(int) for place in (sources_of(config)["rgb"], out / "overlays")
    )
    grey = read_saliency(out / "maps" / "000.png")
    assert (overlay[grey == 0] == picture[grey == 0]).all()
    assert (overlay[grey > 200, 0] > picture[grey > 200, 0]).all()
    assert names(out) == [".lock", "maps", "masks", "overlays", "prediction.json"]


def test_a_run_goes_on_where_it_was_cut_off(config: Config, save: Save, tmp_path: Path) -> None:
    path, out = save(config), tmp_path / "out"
    for index in range(6, 12):
        for place in sources_of(config).values():
            (place / f"{index:03d}.png").unlink()
    whole = predict(path, sources_of(config), tmp_path / "whole")
    bad = sources_of(config)["thermal"] / "004.png"
    content = bad.read_bytes()
    bad.write_bytes(content[:60])
    with pytest.raises(UserError, match=r"004\.png: the image is truncated"):
        predict(path, sources_of(config), out, threads=0)
    assert names(out / "maps") == [f"{index:03d}.png" for index in range(4)]
    bad.write_bytes(content)
    (out / "maps" / "002.png").write_bytes((out / "maps" / "002.png").read_bytes()[:-1])  # the machine crashed
    before = {name: (out / "maps" / name).stat().st_mtime_ns for name in names(out / "maps")}
    assert predict(path, sources_of(config), out) == (3, 3, [])
    kept = [name for name, time in before.items() if (out / "maps" / name).stat().st_mtime_ns == time]
    assert kept == [name for name in before if name != "002.png"]
    assert whole == (6, 0, [])
    for name in names(out / "maps"):
        assert (out / "maps" / name).read_bytes() == (tmp_path / "whole" / "maps" / name).read_bytes()
    # Overlays are added later, with their maps.
    assert predict(path, sources_of(config), out, pictures=["overlays"]) == (6, 0, [])


def test_other_maps_do_not_mix_in(config: Config, save: Save, tmp_path: Path) -> None:
    path, out = save(config), tmp_path / "out"
    one = {"rgb": sources_of(config)["rgb"] / "001.png", "thermal": sources_of(config)["thermal"] / "003.png"}
    assert predict(path, one, out) == (1, 0, []) and names(out / "maps") == ["001.png"]
    other = save(replace(config, test=replace(config.test, normalize_maps=False)), "other.pt")
    with pytest.raises(UserError, match=r"out: holds maps made otherwise: checkpoint was .*; choose another output$"):
        predict(other, one, out)
    with pytest.raises(UserError, match="made otherwise: sources was"):
        predict(path, sources_of(config), out)
    (tmp_path / "mine" / "maps").mkdir(parents=True)
    (tmp_path / "mine" / "maps" / "001.png").write_text("mine")
    with pytest.raises(UserError, match="mine: holds files that no prediction wrote"):
        predict(path, one, tmp_path / "mine")
    with locked(out), pytest.raises(UserError, match="is working in it"):
        predict(path, one, out)


def test_bad_files_are_left_out_and_listed(config: Config, save: Save, tmp_path: Path) -> None:
    path, out = save(config), tmp_path / "out"
    places = sources_of(config)
    (places["rgb"] / "002.png").write_bytes(b"")
    (places["thermal"] / "005.png").unlink()
    cv2.imwrite(str(places["thermal"] / "009.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match=r"005\.png: no thermal image of that stem in"):
        predict(path, places, out)
    assert not out.exists()
    done = predict(path, places, out, skip_bad=True)
    assert (done.predicted, done.there) == (9, 0)
    assert [next(word for word in ("005", "002", "009") if word in line) for line in done.left_out] == [
        "005",
        "002",
        "009",
    ]
    size = f"has 9x9 pixels, but {places['rgb'] / '009.png'} has 48x48 (--sizes any resizes each on its own)"
    assert done.left_out[2] == f"{places['thermal'] / '009.png'} {size}"
    assert (out / "left_out.txt").read_text().splitlines() == done.left_out


def test_missing_modalities_and_lists(config: Config, save: Save, tmp_path: Path) -> None:
    path, places = save(config), sources_of(config)
    for index in range(3, 12):
        (places["rgb"] / f"{index:03d}.png").unlink()
    (places["thermal"] / "001.png").unlink()
    listed = tmp_path / "lists" / "thermal.txt"
    listed.parent.mkdir()
    listed.write_text("\n".join(f"../pairs/T/{index:03d}.png" for index in (0, 2, 4)) + "\n\n")
    sources = {"rgb": places["rgb"], "thermal": listed}
    assert predict(path, sources, tmp_path / "out", missing=True).predicted == 4
    assert names(tmp_path / "out" / "maps") == ["000.png", "001.png", "002.png", "004.png"]
    alone = predict(path, {"thermal": places["thermal"] / "004.png"}, tmp_path / "alone", missing=True)
    assert alone.predicted == 1
    same = [(tmp_path / out / "maps" / "004.png").read_bytes() for out in ("out", "alone")]
    assert same[0] == same[1]


def test_sets_of_videos_are_predicted_by_video(config: Config, save: Save, tmp_path: Path) -> None:
    for seed, video in enumerate(("boat", "cat")):
        write_pairs(tmp_path / "films" / video, 2, seed)
    path, out, both = save(config), tmp_path / "out", dict.fromkeys(("rgb", "thermal"), tmp_path / "films")
    assert predict(path, both, out, threshold="otsu", pictures=["overlays"]) == (4, 0, [])
    expected = [f"{video}/00{frame}.png" for video in ("boat", "cat") for frame in range(2)]
    for kind in ("maps", "masks", "overlays"):
        assert sorted(str(one.relative_to(out / kind)) for one in (out / kind).rglob("*.png")) == expected
    (out / "overlays" / "cat" / "001.png").unlink()
    assert predict(path, both, out, threshold="otsu", pictures=["overlays"]) == (1, 3, [])
    alone = {name: tmp_path / "films" / "cat" / part for name, part in (("rgb", "RGB"), ("thermal", "T"))}
    predict(path, alone, tmp_path / "alone")
    assert (tmp_path / "alone/maps/001.png").read_bytes() == (out / "maps/cat/001.png").read_bytes()
    # A set of images is no set of videos: its folders of other images and of masks are not its RGB images.
    with pytest.raises(UserError, match=r"cat: holds no image"):
        predict(path, {**both, "rgb": tmp_path / "films" / "cat"}, tmp_path / "none")


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"rgb": "RGB"}, "^no --thermal: say where these images are, or --allow-missing to predict without$"),
        ({}, "^no --rgb and no --thermal: say where these images are$"),
        ({"rgb": "RGB", "themal": "T"}, r"^--themal: the model takes rgb, thermal \(did you mean 'thermal'\?\)$"),
        ({"rgb": "RGB", "thermal": "nowhere"}, "nowhere: no such file or folder$"),
        ({"rgb": "RGB", "thermal": "empty.txt"}, r"empty\.txt: holds no image"),
        ({"rgb": "RGB", "thermal": "RGB/000.png"}, r"RGB: 11 files have no thermal image in .*000\.png: 001, 002"),
    ],
)
def test_what_cannot_be_paired(
    config: Config, save: Save, tmp_path: Path, sources: dict[str, str], message: str
) -> None:
    root = sources_of(config)["rgb"].parent
    (root / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=message):
        predict(save(config), {name: root / place for name, place in sources.items()}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_prediction_that_is_not_finite_names_its_image(config: Config, save: Save, tmp_path: Path) -> None:
    path, sources = save(config), {name: str(place) for name, place in sources_of(config).items()}
    predictor = Predictor.from_checkpoint(path, "cpu")
    next(predictor.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(Failure, match=r"RGB/000\.png: its prediction is not finite"):
        predict_files(predictor, path, sources, PredictionFolder(tmp_path / "out"))


def test_swapped_folders_are_remarked(
    config: Config, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, right = save(config), sources_of(config)
    predict(path, right, tmp_path / "right")
    assert capsys.readouterr().err == ""
    assert predict(path, {"rgb": right["thermal"], "thermal": right["rgb"]}, tmp_path / "wrong").predicted == 12
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"note: --rgb {right['thermal']}: is called as thermal images are; were the options mixed up?"
    assert second == f"note: --thermal {right['rgb']}: is called as rgb images are; were the options mixed up?"
    named = {"thermal": right["rgb"].rename(tmp_path / "camera2")}  # a name that says nothing
    predict(path, named, tmp_path / "alone", missing=True)
    assert capsys.readouterr().err == ""


def skipping(path: Path, sources: dict[str, Path], output: Path) -> tuple[int, int, list[str]]:
    return tuple(predict(path, sources, output, skip_bad=True))  # type: ignore[return-value]


def test_every_rank_predicts_its_share(config: Config, save: Save, tmp_path: Path) -> None:
    path = save(config)
    (sources_of(config)["rgb"] / "003.png").write_bytes(b"")
    first, second = run_ranks(skipping, 2, path, sources_of(config), tmp_path / "out")
    assert first == second and first[:2] == (11, 0) and "003.png" in first[2][0] and len(first[2]) == 1
    assert len(names(tmp_path / "out" / "maps")) == 11


def test_the_record_says_what_maps_depend_on(config: Config, save: Save, tmp_path: Path) -> None:
    one = {name: place / "000.png" for name, place in sources_of(config).items()}
    predict(save(config), one, tmp_path / "out", threshold=0.5)
    record = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert set(record) == {"checkpoint", "precision", "sources", "masks"} and len(record["checkpoint"]) == 64
