"""Videos and image sequences through the whole prediction."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config import Config
from samsod.data.decoding.images import cv2, read_rgb, read_saliency
from samsod.data.pictures import write_png
from samsod.prediction.files import Summary, predict_files, predict_share
from samsod.prediction.film import Film, write_film
from samsod.prediction.folder import PredictionFolder
from samsod.prediction.items import Item
from samsod.prediction.predictor import Predictor
from samsod.prediction.scene_pictures import PICTURES
from samsod.prediction.scenes import find_items
from samsod.prediction.videos import Video
from samsod.utils.errors import UserError
from tests.conftest import Save
from tests.prediction.films import damage_frame, film_of, moving


@pytest.fixture
def predictor(config: Config, save: Save) -> Predictor:
    config.test = replace(config.test, batch_size=3)
    return Predictor.from_checkpoint(save(config), "cpu")


@pytest.fixture
def films(tmp_path: Path) -> dict[str, str]:
    """Seven frames of each modality."""
    places = {"rgb": (7, 0), "thermal": (7, 1)}
    return {name: str(film_of(tmp_path / f"{name}.avi", moving(*about))) for name, about in places.items()}


def predict(
    predictor: Predictor, films: dict[str, str], out: Path, skip_bad: bool = False, pictures: tuple[str, ...] = ()
) -> Summary:
    checkpoint = out.parent / "best.pt"
    return predict_files(predictor, checkpoint, films, PredictionFolder(out, None, pictures), 1, skip_bad)


def stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def test_frames_are_predicted_as_arrays_are(predictor: Predictor, films: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(predictor, films, out, pictures=tuple(PICTURES)) == (7, 0, [])
    expected = [f"{index:06d}" for index in range(7)]
    assert stems(out / "maps") == stems(out / "overlays") == stems(out / "side_by_side") == expected
    videos = {name: Video(Path(path)) for name, path in films.items()}
    scenes = [{name: video.read() for name, video in videos.items()} for _ in range(7)]
    results = predictor.predict(**{name: [scene[name] for scene in scenes] for name in films})
    for stem, scene, result in zip(expected, scenes, results, strict=True):
        np.testing.assert_allclose(read_saliency(out / "maps" / f"{stem}.png"), result.grey(), atol=1)
        assert scene["rgb"] is not None and scene["thermal"] is not None
        overlay = result.overlay(scene["rgb"]).astype(int)
        assert np.abs(read_rgb(out / "overlays" / f"{stem}.png") - overlay).max() <= 1
        row = read_rgb(out / "side_by_side" / f"{stem}.png")
        tops = [top for top in range(60) if np.array_equal(row[top : top + 48, 6:70], scene["rgb"])]
        assert len(tops) == 1
        assert np.array_equal(row[tops[0] : tops[0] + 48, 76:140], scene["thermal"])
        assert np.abs(row[tops[0] : tops[0] + 48, 146:210].astype(int) - result.grey()[..., None]).max() <= 1
        assert np.abs(row[tops[0] : tops[0] + 48, 216:280] - overlay).max() <= 1


def test_a_cut_off_run_goes_on_and_the_film_is_begun_again(
    predictor: Predictor, films: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(predictor, films, tmp_path / "whole")
    predict(predictor, films, out)
    for index in (2, 5):
        (out / "maps" / f"{index:06d}.png").unlink()
    film = Film(tmp_path / "films" / "film.avi", "side_by_side")
    assert write_film(film, predictor, films, PredictionFolder(out), 1) == 5
    assert predict(predictor, films, out) == (2, 5, [])
    for stem in stems(out / "maps"):
        again, whole = (read_saliency(tmp_path / place / "maps" / f"{stem}.png") for place in ("out", "whole"))
        np.testing.assert_allclose(again, whole, atol=1)
    assert write_film(film, predictor, films, PredictionFolder(out), 0) == 7
    video = Video(film.path)
    assert (video.length, video.rate) == (7, 25)
    frame = video.read()
    assert frame is not None and frame.shape[1] > 4 * 64


@pytest.mark.parametrize("missing", [False, True])
def test_unequal_videos(
    predictor: Predictor, films: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: bool
) -> None:
    film_of(tmp_path / "thermal.avi", moving(4, 1), rate=9)
    predictor.allow_missing = missing
    assert predict(predictor, films, tmp_path / "out").predicted == (7 if missing else 4)
    lengths, rates = capsys.readouterr().err.splitlines()
    done = "the rest is predicted without what ended" if missing else "the rest is left out"
    assert lengths.endswith(f"thermal.avi has 4 frames: the first 4 are paired by their index, {done}")
    assert lengths.startswith(f"note: {films['rgb']} has 7 frames, ")
    assert "rgb.avi has 25 frames a second" in rates and "thermal.avi has 9 frames a second: frames are paired" in rates


def test_one_video_alone(predictor: Predictor, films: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no --rgb: say where these images are, or --allow-missing"):
        predict(predictor, {"thermal": films["thermal"]}, tmp_path / "out")
    predictor.allow_missing = True
    assert predict(predictor, {"thermal": films["thermal"]}, tmp_path / "out", pictures=tuple(PICTURES)).predicted == 7


def test_damaged_frames_are_named_by_their_index(predictor: Predictor, films: dict[str, str], tmp_path: Path) -> None:
    damage_frame(Path(films["thermal"]), 3)
    with pytest.raises(UserError, match=r"thermal\.avi: frame 3 is damaged \(") as found:
        predict(predictor, films, tmp_path / "out")
    done = predict(predictor, films, tmp_path / "out", skip_bad=True)
    assert done.predicted + done.there == 6 and done.left_out == list(found.value.args)
    assert stems(tmp_path / "out" / "maps") == [f"{index:06d}" for index in (0, 1, 2, 4, 5, 6)]
    assert write_film(Film(tmp_path / "f.mp4"), predictor, films, PredictionFolder(tmp_path / "out")) == 6


def test_frames_of_unequal_size_are_named(predictor: Predictor, films: dict[str, str], tmp_path: Path) -> None:
    film_of(tmp_path / "thermal.avi", moving(7, height=32))
    with pytest.raises(UserError, match=r"rgb\.avi: frame 0: the thermal image has 64x32 pixels, but"):
        predict(predictor, films, tmp_path / "out")


def test_images_in_the_place_of_a_video(predictor: Predictor, films: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "T").mkdir()
    for index, frame in enumerate(moving(7, 1)):
        write_png(tmp_path / "T" / f"t{index + 5:02d}.png", frame[..., 0])
    for number, place in enumerate((tmp_path / "T", tmp_path / "T" / "t%02d.png")):
        out = tmp_path / f"out{number}"
        assert predict(predictor, {**films, "thermal": str(place)}, out).predicted == 7
    assert (tmp_path / "out0/maps/000006.png").read_bytes() == (tmp_path / "out1/maps/000006.png").read_bytes()


def test_patterns_pair_by_number(predictor: Predictor, tmp_path: Path) -> None:
    for index, frame in enumerate(moving(5)):
        write_png(tmp_path / f"left {index + 8:04d}.png", frame)
        write_png(tmp_path / f"ir_{index + 8}.png", frame[..., 1])
    for other in ("left 009.png", "left 00010.png", "left 0009.txt", "ir_08.png"):
        (tmp_path / other).touch()
    patterns = {"rgb": str(tmp_path / "left %04d.png"), "thermal": str(tmp_path / "ir_%d.png")}
    assert predict(predictor, patterns, tmp_path / "out").predicted == 5
    assert stems(tmp_path / "out" / "maps") == [f"left {number:04d}" for number in range(8, 13)]
    found = next(find_items(patterns, predictor.modalities, False).read(lambda index, _: index == 2))
    assert [getattr(path, "name", "") for path in found.images.values()] == ["left 0010.png", "ir_10.png"]
    (tmp_path / "ir_9.png").unlink()
    with pytest.raises(UserError, match=r"left 0009\.png: no thermal image of that"):
        predict(predictor, patterns, tmp_path / "out2")
    assert predict(predictor, patterns, tmp_path / "out2", skip_bad=True).predicted == 4
    for wrong, message in (
        ({"thermal": str(tmp_path)}, "expected a pattern as left %04d.png is one"),
        ({"rgb": str(tmp_path / "x%d.png")}, r"x%d\.png: no file is called so, whatever its number"),
        ({"rgb": str(tmp_path / "no" / "x%d.png")}, r"no: cannot be listed: No such file"),
    ):
        with pytest.raises(UserError, match=message):
            predict(predictor, {**patterns, **wrong}, tmp_path / "out3")


def test_pictures_of_other_sizes_are_fitted_into_the_film(predictor: Predictor, tmp_path: Path) -> None:
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
        for index, height in enumerate((48, 32, 48)):
            write_png(tmp_path / name / f"{index}.png", moving(1, height=height)[0])
    places = {name: str(tmp_path / name) for name in ("rgb", "thermal")}
    predict(predictor, places, tmp_path / "out")
    film = Film(tmp_path / "f.mkv", rate=5)
    assert write_film(film, predictor, places, PredictionFolder(tmp_path / "out")) == 3
    capture = cv2.VideoCapture(str(film.path))
    assert (capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (5, 48)


class Generated:
    """Scenes that are made when they are asked for; `used` says how much memory lives when some of them are."""

    modalities: Sequence[str] = ("rgb", "thermal")
    unmatched: Sequence[str] = ()
    notes: Sequence[str] = ()
    rate: float | None = None

    def __init__(self, count: int, looked_at: tuple[int, ...]) -> None:
        self.count, self.looked_at = count, looked_at
        self.used: list[tuple[int, int]] = []

    def stems(self) -> Iterator[str]:
        return map(str, range(self.count))

    def read(self, wanted: Callable[[int, str], bool]) -> Iterator[Item]:
        for index in range(self.count):
            if index in self.looked_at:
                gc.collect()
                tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
                self.used.append((tensors, tracemalloc.get_traced_memory()[0]))
            if wanted(index, str(index)):
                images = {name: np.full((64, 64, 3), index, np.uint8) for name in self.modalities}
                yield Item(str(index), f"scene {index}", images)


def test_memory_does_not_grow_with_the_number_of_images(predictor: Predictor, tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", 0.5)
    folder.prepare({})
    scenes = Generated(27, (8, 26))
    tracemalloc.start()
    try:
        assert predict_share(predictor, scenes, folder, 0, False) == (27, 0, [])
    finally:
        tracemalloc.stop()
    (tensors, before), (later, after) = scenes.used
    assert later == tensors  # whose values tracemalloc does not see
    assert after - before < 18 * 64 * 64  # of each image less than a channel
