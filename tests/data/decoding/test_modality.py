from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samsod.config.data_schema import ModalityConfig
from samsod.data.decoding.images import cv2, read_rgb, reduction
from samsod.data.decoding.modality import read_modality
from samsod.data.pair_images import read_images
from samsod.data.sources.catalog import Pair
from tests.data.decoding.test_images import gradient

Write = Callable[..., Path]
OneLine = Callable[..., str]
FIXED = ModalityConfig(scale="fixed")
CUT = ModalityConfig(scale="cut")
BOTH = {"rgb": CUT, "thermal": ModalityConfig()}


def plane(path: Path, config: ModalityConfig) -> list[list[int]]:
    image = read_modality(path, config)
    assert image.dtype == np.uint8 and image.shape[2] == 3
    assert np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])
    rows: list[list[int]] = image[..., 0].tolist()
    return rows


@pytest.mark.parametrize("config", [ModalityConfig(), FIXED])
def test_8_bits_stay_as_they_are(tmp_path: Path, write_image: Write, config: ModalityConfig) -> None:
    grey = gradient()[..., 0] // 2 + 20
    assert plane(write_image(tmp_path / "a.png", grey), config) == grey.tolist()
    assert np.array_equal(read_modality(write_image(tmp_path / "b.png", gradient()), config), gradient())


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_are_stretched_or_divided(tmp_path: Path, write_image: Write, ending: str) -> None:
    path = write_image(tmp_path / f"a{ending}", np.array([[7000, 7100], [7255, 7510]], np.uint16))
    assert plane(path, ModalityConfig()) == [[0, 50], [128, 255]]
    assert plane(path, FIXED) == [[27, 28], [28, 29]]  # value / 257


def test_a_range_of_14_bits_is_the_same_for_every_image(tmp_path: Path, write_image: Write) -> None:
    config = ModalityConfig(scale="fixed", range=[0, 16383])
    one = write_image(tmp_path / "a.png", np.array([[0, 8192, 16383, 20000]], np.uint16))
    other = write_image(tmp_path / "b.tif", np.array([[8192, 8192]], np.uint16))
    assert plane(one, config) == [[0, 128, 255, 255]] and plane(other, config) == [[128, 128]]


def test_a_range_counts_for_8_bits_too(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", np.array([[10, 50, 60, 110, 200]], np.uint8))
    assert plane(path, ModalityConfig(scale="fixed", range=[50, 110])) == [[0, 0, 42, 255, 255]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_temperatures(tmp_path: Path, write_image: Write, dtype: type) -> None:
    kelvin: np.ndarray = np.array([[273.15, 293.15], [313.15, 283.16]], dtype)
    path = write_image(tmp_path / "a.tif", kelvin)
    assert plane(path, ModalityConfig()) == [[0, 128], [255, 64]]
    assert plane(path, ModalityConfig(scale="fixed", range=[253.1, 293.1])) == [[128, 255], [255, 192]]


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_signed_values(tmp_path: Path, write_image: Write, dtype: type) -> None:
    path = write_image(tmp_path / "a.tif", np.array([[-1000, 0, 1000]], dtype))
    assert plane(path, ModalityConfig()) == [[0, 128, 255]]
    assert plane(path, ModalityConfig(scale="fixed", range=[-2000, 2000])) == [[64, 128, 191]]


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_values_without_a_natural_range(tmp_path: Path, write_image: Write, one_line: OneLine, dtype: type) -> None:
    path = write_image(tmp_path / "a.tif", np.ones((4, 4), dtype))
    assert one_line(read_modality, path, FIXED) == (
        f"{path}: holds {np.dtype(dtype)} values, and scale is fixed: say in range which become 0 and 255"
    )


@pytest.mark.parametrize("value", [0, 4711, 65535])
def test_a_constant_image_divides_by_nothing(tmp_path: Path, write_image: Write, value: int) -> None:
    path = write_image(tmp_path / "a.png", np.full((4, 5), value, np.uint16))
    assert read_modality(path, ModalityConfig()).max() == 0
    assert (read_modality(path, FIXED) == round(value / 257)).all()
    assert read_modality(write_image(tmp_path / "a.tif", np.full((2, 2), 3.5, np.float32)), ModalityConfig()).max() == 0


def test_three_channels_of_16_bits_keep_their_order(tmp_path: Path, write_image: Write) -> None:
    image = gradient().astype(np.uint16)
    image[0, 0], image[-1, -1] = 0, 510
    read = read_modality(write_image(tmp_path / "a.png", image), ModalityConfig())
    assert np.abs(read - image / 2).max() <= 0.5


def test_photographs_are_read_as_ever(tmp_path: Path, write_image: Write, one_line: OneLine) -> None:
    for name, image in {
        "grey": gradient()[..., 1],
        "colour": gradient(),
        "wide": gradient().astype(np.uint16) * 201,
    }.items():
        path = write_image(tmp_path / f"{name}.png", image)
        assert np.array_equal(read_modality(path, CUT), read_rgb(path))
    path = write_image(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    assert one_line(read_modality, path, CUT).startswith(f"{path}: holds float32 values; only 16 bits are cut to 8")


def test_depth_the_other_way_round(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", np.array([[0, 100, 255]], np.uint8))
    assert plane(path, ModalityConfig(invert=True)) == [[255, 155, 0]]
    assert np.array_equal(
        read_modality(write_image(tmp_path / "b.png", gradient()), ModalityConfig(invert=True)), 255 - gradient()
    )
    wide = write_image(tmp_path / "c.png", np.array([[1000, 2000]], np.uint16))
    assert plane(wide, ModalityConfig(invert=True)) == [[255, 0]]


def test_missing_values_do_not_count_for_the_stretch(tmp_path: Path, write_image: Write) -> None:
    depth = write_image(tmp_path / "a.png", np.array([[0, 1000, 1500, 2000, 0]], np.uint16))
    assert plane(depth, ModalityConfig()) == [[0, 128, 191, 255, 0]]
    assert plane(depth, ModalityConfig(missing=0)) == [[0, 0, 128, 255, 0]]
    # Without a reading is black, not white, when what is near becomes bright.
    assert plane(depth, ModalityConfig(missing=0, invert=True)) == [[0, 255, 127, 0, 0]]
    assert plane(depth, ModalityConfig(missing=0, fill="nearest")) == [[0, 0, 128, 255, 255]]
    eight = write_image(tmp_path / "b.png", np.array([[9, 255, 80]], np.uint8))
    assert plane(eight, ModalityConfig(missing=255)) == [[9, 0, 80]]


def test_what_is_not_finite_is_missing(tmp_path: Path, write_image: Write) -> None:
    values = np.array([[np.nan, 10, 20], [np.inf, -9999, -np.inf]], np.float32)
    path = write_image(tmp_path / "a.tif", values)
    assert plane(path, ModalityConfig(missing=-9999)) == [[0, 0, 255], [0, 0, 0]]
    assert plane(path, ModalityConfig(missing=-9999, fill="nearest")) == [[0, 0, 255], [0, 0, 255]]
    assert plane(path, ModalityConfig(scale="fixed", range=[0, 20], missing=-9999)) == [[0, 128, 255], [0, 0, 0]]


@pytest.mark.parametrize("fill", ["zero", "nearest"])
def test_no_reading_at_all_is_black(tmp_path: Path, write_image: Write, fill: str) -> None:
    config = ModalityConfig(missing=0, fill=fill, invert=True)  # type: ignore[arg-type]
    assert read_modality(write_image(tmp_path / "a.png", np.zeros((3, 4), np.uint16)), config).max() == 0
    assert read_modality(write_image(tmp_path / "a.tif", np.full((3, 4), np.nan, np.float32)), config).max() == 0


def test_nearest_is_the_nearest(tmp_path: Path, write_image: Write) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(1, 256, (20, 30), np.uint8)
    image[rng.random(image.shape) < 0.6] = 0
    filled = np.array(plane(write_image(tmp_path / "a.png", image), ModalityConfig(missing=0, fill="nearest")))
    assert np.array_equal(filled[image > 0], image[image > 0])
    readings = np.argwhere(image > 0)
    for row, column in np.argwhere(image == 0):
        distances = np.hypot(*(readings - (row, column)).T)
        within = readings[distances <= distances.min() * 1.03 + 0.01]
        assert filled[row, column] in image[within[:, 0], within[:, 1]]


def test_missing_in_pseudo_colour_is_all_three_channels(tmp_path: Path, write_image: Write) -> None:
    image = np.array([[[0, 0, 0], [0, 9, 0], [7, 7, 7]]], np.uint8)
    read = read_modality(write_image(tmp_path / "a.png", image), ModalityConfig(missing=0, fill="nearest"))
    assert read.tolist() == [[[0, 9, 0], [0, 9, 0], [7, 7, 7]]]


def write_jpegs(folder: Path, height: int, width: int) -> Pair:
    rows, columns = np.mgrid[:height, :width]
    wave = (127 + 100 * np.sin(rows / 30) * np.cos(columns / 40)).astype(np.uint8)
    paths = [folder / "rgb.jpg", folder / "thermal.jpg", folder / "truth.png"]
    for path, image in zip(
        paths, (np.dstack([wave, 255 - wave, wave]), wave, (wave > 128) * np.uint8(255)), strict=True
    ):
        path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return Pair("a", {"rgb": paths[0], "thermal": paths[1]}, paths[2])


@pytest.mark.parametrize(("least", "factor"), [(0, 1), (200, 1), (120, 2), (60, 4), (30, 8), (5, 8)])
def test_jpegs_are_reduced_while_decoded(tmp_path: Path, least: int, factor: int) -> None:
    pair = write_jpegs(tmp_path, 240, 320)
    assert reduction(pair.reference, least) == factor
    images = read_images(pair, BOTH, least)
    assert {image.shape[:2] for image in images.all()} == {(240 // factor, 320 // factor)} and images.aspect == 4 / 3
    whole = read_images(pair, BOTH)
    for ours, full in zip(images.all(), whole.all(), strict=True):
        averaged = full.reshape(240 // factor, factor, 320 // factor, factor, -1).mean((1, 3)).squeeze()
        assert np.abs(ours - averaged).mean() < 1.5
    kept = read_modality(pair.images["thermal"], ModalityConfig(missing=300), factor)  # the way round reduced decoding
    assert np.abs(kept.astype(int) - images.images["thermal"]).mean() < 1


def test_sides_that_cannot_be_divided_are_not_reduced(tmp_path: Path) -> None:
    pair = write_jpegs(tmp_path, 241, 320)
    assert reduction(pair.reference, 16) == 1
    assert read_images(pair, BOTH, 16).reference.shape == (241, 320, 3)


@pytest.mark.parametrize(
    ("name", "shape"), [("thermal", (240, 319)), ("ground_truth", (120, 160)), ("thermal", (239, 320))]
)
def test_sizes_are_compared_as_stored(
    tmp_path: Path, write_image: Write, one_line: OneLine, name: str, shape: tuple[int, int]
) -> None:
    pair = write_jpegs(tmp_path, 240, 320)
    path = write_image(pair.files[name], np.zeros(shape, np.uint8))
    message = one_line(read_images, pair, BOTH, 60)
    assert message.startswith(f"{path} has {shape[1]}x{shape[0]} pixels, but {pair.reference} has 320x240")


@pytest.mark.parametrize("name", ["thermal", "ground_truth"])
def test_an_image_of_the_reduced_size_is_not_taken_for_a_reduced_one(
    tmp_path: Path, write_image: Write, one_line: OneLine, name: str
) -> None:
    pair = write_jpegs(tmp_path, 250, 330)
    assert read_images(pair, BOTH, 100).reference.shape == (125, 165, 3)
    path = write_image(pair.files[name], np.zeros((125, 165), np.uint8))
    message = one_line(read_images, pair, BOTH, 100)
    assert message.startswith(f"{path} has 165x125 pixels, but {pair.reference} has 330x250")


def test_a_reduced_jpeg_must_be_whole_too(tmp_path: Path, one_line: OneLine) -> None:
    pair = write_jpegs(tmp_path, 240, 320)
    pair.reference.write_bytes(pair.reference.read_bytes()[:-40])
    for reduce in (1, 8):
        assert "truncated" in one_line(read_modality, pair.reference, ModalityConfig(), reduce)
