from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config.data_schema import AugmentConfig, ModalityConfig
from samsod.data import transforms
from samsod.data.augment import draw_factors
from samsod.data.decoding.images import read_rgb
from samsod.data.decoding.modality import read_modality

OPERATIONS = {
    "Brightness": transforms.adjust_brightness,
    "Contrast": transforms.adjust_contrast,
    "Color": transforms.adjust_color,
    "Sharpness": transforms.adjust_sharpness,
}
FACTORS = (0.0, 0.3, 0.5, 1.0, 1.37, 2.0, 3.0)
# Grey levels by which one operation, and the four in a row, may differ from Pillow; and at what share of the bytes.
MOST = {"Brightness": 0, "Contrast": 0, "Color": 2, "Sharpness": 1}
MOST_OF_FORMULA = {"Brightness": 1, "Contrast": 1, "Color": 2, "Sharpness": 1}
MOST_OF_ALL, SHARE = 4, 0.02
Operation = Callable[[np.ndarray, float], np.ndarray]


def noise(height: int = 37, width: int = 53, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] / 10
    planes = (np.sin(rows + columns), np.cos(rows) * columns / 8, np.tanh(rows - columns))
    return (127 + 100 * np.stack(planes, axis=2)).astype(np.uint8)


def slow_grey(image: np.ndarray) -> np.ndarray:
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    return (19595 * red + 38470 * green + 7471 * blue + 32768) // 65536  # 0.299, 0.587, 0.114


def slow_smooth(image: np.ndarray) -> np.ndarray:
    result = image.astype(float)
    for row in range(1, image.shape[0] - 1):
        for column in range(1, image.shape[1] - 1):
            window = image[row - 1 : row + 2, column - 1 : column + 2].astype(float)
            result[row, column] = np.floor((window.sum((0, 1)) + 4 * window[1, 1]) / 13 + 0.5)
    return result


def slow(name: str, image: np.ndarray, factor: float) -> np.ndarray:
    degenerate = {
        "Brightness": lambda: np.zeros(image.shape),
        "Contrast": lambda: np.full(image.shape, np.floor(slow_grey(image).mean() + 0.5)),
        "Color": lambda: np.repeat(slow_grey(image)[..., None], 3, axis=2),
        "Sharpness": lambda: slow_smooth(image),
    }[name]()
    return np.floor(np.clip(degenerate + factor * (image - degenerate), 0, 255))


def assert_close(ours: np.ndarray, theirs: np.ndarray, most: int) -> None:
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert ours.dtype == np.uint8 and difference.max() <= most
    assert (difference > 0).mean() <= SHARE


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("image", [noise(), scene()], ids=["noise", "scene"])
def test_operations_are_their_formulas(name: str, image: np.ndarray) -> None:
    before = image.copy()
    for factor in FACTORS:
        # Cutting turns a rounding error of the last bit into a level.
        difference = np.abs(OPERATIONS[name](image, factor).astype(int) - slow(name, image, factor))
        assert difference.max() <= MOST_OF_FORMULA[name] and difference.mean() < 0.02, factor
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_pillows(name: str) -> None:
    pillow, enhance = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageEnhance")
    for image in (noise(), scene()):
        for factor in (*FACTORS, *np.random.default_rng(1).uniform(0, 3, 20)):
            theirs = np.asarray(getattr(enhance, name)(pillow.fromarray(image)).enhance(factor))
            assert_close(OPERATIONS[name](image, factor), theirs, MOST[name])


def test_all_four_are_pillows(shared_data: Path) -> None:
    pillow, enhance = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageEnhance")
    rng = np.random.default_rng(2)
    for path in sorted((shared_data / "rgbflow" / "train" / "RGB").iterdir())[::30]:
        (image,) = transforms.resize([read_rgb(path)], 256)
        for _ in range(5):
            factors = draw_factors(AugmentConfig(), rng)
            theirs = pillow.fromarray(image)
            for name, factor in zip(OPERATIONS, factors, strict=True):
                theirs = getattr(enhance, name)(theirs).enhance(factor)
            assert_close(transforms.photometric(image, factors), np.asarray(theirs), MOST_OF_ALL)


def test_what_the_factors_mean() -> None:
    image = scene()
    assert np.array_equal(transforms.photometric(image, transforms.Factors(1, 1, 1, 1)), image)
    assert transforms.adjust_brightness(image, 0).max() == 0
    assert len(np.unique(transforms.adjust_contrast(image, 0))) == 1
    grey = transforms.adjust_color(image, 0)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    grey_image = np.repeat(image[..., :1], 3, axis=2)
    assert np.array_equal(transforms.adjust_color(grey_image, 1.7), grey_image)
    sharp = transforms.adjust_sharpness(image, 2.5)
    inside = np.s_[1:-1, 1:-1]
    assert sharp[inside].std() > image[inside].std()
    sharp[inside], image[inside] = 0, 0
    assert np.array_equal(sharp, image)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_tiny_images(size: tuple[int, int]) -> None:
    image = noise(*size)
    changed = transforms.photometric(image, transforms.Factors(0.5, 1, 1, 3))
    assert np.array_equal(changed, image // 2)


def test_factors_come_from_their_ranges() -> None:
    config = AugmentConfig(brightness=[0.2, 0.4], contrast=[1.0, 1.0], color=[0.0, 2.0], sharpness=[5.0, 6.0])
    rng = np.random.default_rng(0)
    drawn = np.array([draw_factors(config, rng) for _ in range(500)])
    assert np.all(drawn.min(0) >= [0.2, 1, 0, 5]) and np.all(drawn.max(0) <= [0.4, 1, 2, 6])
    assert np.allclose(drawn.mean(0), [0.3, 1, 1, 5.5], atol=0.1)


def slow_resize(plane: np.ndarray, size: int) -> np.ndarray:
    """Bilinear along one side after the other, with a triangle as wide as the factor of reduction."""
    for _ in range(2):
        plane = plane.T
        factor = plane.shape[0] / size
        support = max(factor, 1.0)
        rows = []
        for target in range(size):
            centre = (target + 0.5) * factor
            weights = np.array([max(1 - abs(y + 0.5 - centre) / support, 0) for y in range(plane.shape[0])])
            rows.append(weights @ plane / weights.sum())
        plane = np.floor(np.array(rows) + 0.5)
    return plane


@pytest.mark.parametrize("shape", [(37, 53), (20, 90), (9, 5), (1, 64)])
def test_resize_is_its_formula(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    (resized,) = transforms.resize([image], 24)
    assert resized.shape == (24, 24, 3) and resized.flags["C_CONTIGUOUS"]
    for channel in range(3):
        difference = np.abs(resized[..., channel] - slow_resize(image[..., channel], 24))
        assert difference.max() <= 1 and difference.mean() < 0.1


def test_resize_is_pillows(shared_data: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = read_rgb(shared_data / "pairs" / "RGB" / sorted(p.name for p in (shared_data / "pairs/RGB").iterdir())[0])
    for size in (64, 200, 512, 700):
        theirs = np.asarray(pillow.fromarray(image).resize((size, size), pillow.Resampling.BILINEAR))
        difference = np.abs(transforms.resize([image], size)[0].astype(int) - theirs)
        assert difference.max() <= 2 and difference.mean() < 0.1


def test_images_resized_together_are_as_if_alone() -> None:
    images = [noise(), noise(seed=1), noise(seed=2)[..., 0], noise(seed=3)[..., 0], noise(seed=4)[..., 0]]
    for size in (16, 37, 60):
        together = transforms.resize(images, size)
        for image, resized in zip(images, together, strict=True):
            assert np.array_equal(resized, transforms.resize([image], size)[0])
    same = transforms.resize([noise(32, 32)], 32)[0]
    assert np.array_equal(same, noise(32, 32))


def test_a_grey_image_is_changed_as_its_three_channels(shared_data: Path) -> None:
    repeated = read_modality(next((shared_data / "pairs" / "T").iterdir()), ModalityConfig())
    plane = repeated[..., 0].copy()
    assert np.array_equal(transforms.single_channel(repeated), plane)
    assert transforms.single_channel(plane) is plane
    blank = np.zeros_like(plane)
    assert transforms.single_channel(blank) is blank
    coloured = repeated.copy()
    coloured[77, 5, 2] ^= 1
    assert transforms.single_channel(coloured) is coloured
    rng = np.random.default_rng(0)
    for _ in range(5):
        factors = draw_factors(AugmentConfig(), rng)
        grey, colour = transforms.photometric(plane, factors), transforms.photometric(repeated, factors)
        assert np.array_equal(np.repeat(grey[..., None], 3, axis=2), colour)
        for normalize in (False, True):
            assert torch.equal(transforms.to_tensor(grey, normalize), transforms.to_tensor(colour, normalize))


def test_arithmetic_in_place_of_a_table_changes_nothing() -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    rng = np.random.default_rng(0)
    for factor in (*FACTORS, *rng.uniform(0, 3, 300)):
        degenerate = np.float32(rng.integers(0, 256))
        expected = degenerate + np.float32(factor) * (levels.astype(np.float32) - degenerate)
        expected = np.clip(expected, 0, 255).astype(np.uint8)
        assert np.array_equal(transforms._look_up(levels, float(degenerate), factor), expected)


def test_turning_follows_the_scene() -> None:
    """A quarter turn of a scene twice as wide as high moves what is right of the centre above it, twice as far."""
    square = np.zeros((101, 101), np.uint8)
    square[48:53, 68:73] = 255  # 20 columns right of the centre
    turned = transforms.turn(square, 90, aspect=2)
    rows, columns = np.nonzero(turned > 128)
    assert abs(rows.mean() - 10) < 1 and abs(columns.mean() - 50) < 1
    whole = transforms.turn(np.full((101, 101, 3), 255, np.uint8), 45, aspect=1)
    assert whole[0, 0].max() == 0 and whole[50, 50].min() == 255
    assert np.array_equal(transforms.turn(square, 0, 2), square)


def test_flip() -> None:
    image = noise()
    assert np.array_equal(transforms.flip(image), image[:, ::-1])
    assert transforms.flip(image).flags["C_CONTIGUOUS"]


def test_tensors() -> None:
    image = noise()
    scaled = transforms.to_tensor(image, normalize=False)
    assert scaled.dtype == torch.float32 and scaled.shape == (3, 37, 53) and scaled.is_contiguous()
    planes = image.transpose(2, 0, 1) / 255
    assert np.abs(scaled.numpy() - planes).max() < 1e-6
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (planes - mean[:, None, None]) / deviation[:, None, None]
    assert np.abs(transforms.to_tensor(image, normalize=True).numpy() - expected).max() < 1e-5
