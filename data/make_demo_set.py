"""Makes a small synthetic set of RGB-T pairs, in the layout of VT5000, for trying the training out.

    python data/make_demo_set.py --output DIR [--train 240] [--test 60] [--size 160] [--seed 0]

A third of the pairs show the object in both modalities, a third hide it from the camera (camouflage, night,
over-exposure, noise), and a third hide it from the thermal sensor (cross-over, blur, noise). Either image may
also hold things that are not salient: stains, lamps, warm patches. So no threshold and no single modality
solves the set.

The same seed gives the same bytes under the same versions of NumPy and OpenCV. At one size, a scene depends
on the seed, its split and its index alone: asking for more scenes leaves the first ones as they were.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import cv2
import numpy as np
import numpy.typing as npt

from samsod.errors import UserError, run_main

Plane = npt.NDArray[np.float32]  # H x W, or H x W x 3 in the order red, green, blue; 0 is black and 1 is white
Bytes = npt.NDArray[np.uint8]
Rng = np.random.Generator

VERSION = 1  # of the drawing: another number means other pictures for the same seed
SPLITS = ("Train", "Test")
FOLDERS = ("RGB", "T", "GT")
RECORD = "demo_set.json"
BOTH, RGB_FAILS, THERMAL_FAILS = KINDS = ("both", "rgb_fails", "thermal_fails")
MIN_AREA, MAX_AREA = 0.03, 0.30
JPEG_QUALITY = 95


class Scene(NamedTuple):
    """One pair and its truth.

    Attributes:
        rgb: The camera's image, H x W x 3, red first.
        thermal: The thermal image, H x W.
        mask: 255 on the salient object, 0 elsewhere, H x W.
        kind: One of `KINDS`.
    """

    rgb: Bytes
    thermal: Bytes
    mask: Bytes
    kind: str


def make_scene(seed: int, split: int, index: int, size: int) -> Scene:
    """Draws one scene; the kinds take turns over `index`.

    Args:
        seed: The set's seed.
        split: 0 for training, 1 for testing.
        index: The scene's number in its split, from 0.
        size: Height and width in pixels.
    """
    rng = np.random.default_rng([seed, split, index])
    kind = KINDS[index % len(KINDS)]
    backdrop = draw_backdrop(rng, size)
    alpha = draw_objects(rng, size)
    mask = np.where(alpha >= 0.5, 255, 0).astype(np.uint8)
    rgb = render_rgb(rng, backdrop, alpha, fails=kind == RGB_FAILS)
    thermal = render_thermal(rng, backdrop, alpha, fails=kind == THERMAL_FAILS)
    return Scene(to_bytes(rgb), to_bytes(thermal), mask, kind)


def to_bytes(image: Plane) -> Bytes:
    """The image in 256 levels, clipped."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


# --- Fields: planes of noise, from which everything else is made ---


def coordinates(size: int) -> tuple[Plane, Plane]:
    """The x and y of every pixel's centre, from 0 to 1."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(steps, steps)
    return x.astype(np.float32), y.astype(np.float32)


def smooth_noise(rng: Rng, size: int, cells: int) -> Plane:
    """Noise without detail below 1 / `cells` of the side; mean 0, deviation 1."""
    return fractal_noise(rng, size, cells, octaves=1)


def fractal_noise(rng: Rng, size: int, cells: int, octaves: int) -> Plane:
    """A sum of noise fields, each twice as fine and half as strong as the one before; mean 0, deviation 1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        side = cells * 2**octave + 2
        knots = rng.standard_normal((side, side), dtype=np.float32)
        total += cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    return (total - total.mean()) / (total.std() + np.float32(1e-6))


def ramp(rng: Rng, size: int) -> Plane:
    """A gradient in a random direction, about -1 to 1."""
    x, y = coordinates(size)
    angle = rng.uniform(0, 2 * np.pi)
    return (2 * x - 1) * np.float32(np.cos(angle)) + (2 * y - 1) * np.float32(np.sin(angle))


def blurred(image: Plane, pixels_at_160: float) -> Plane:
    """Gaussian blur whose width keeps its share of the picture at any size."""
    sigma = pixels_at_160 * image.shape[0] / 160
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


# --- Backgrounds ---


class Backdrop(NamedTuple):
    """What lies behind the objects: its RGB image, its two colours, and the texture that mixes them."""

    rgb: Plane
    colours: tuple[Plane, Plane]
    texture: Plane


def waves(rng: Rng, size: int) -> Plane:
    """Slightly warped stripes, 0 to 1."""
    phase = ramp(rng, size) * np.float32(rng.uniform(4, 14) * np.pi / 2)
    phase += np.float32(rng.uniform(0, 0.6)) * smooth_noise(rng, size, 4)
    return (0.5 + 0.5 * np.tanh(3 * np.sin(phase))).astype(np.float32)


def tiles(rng: Rng, size: int) -> Plane:
    """The thin lines of a grid, 0 to 1."""
    x, y = coordinates(size)
    count, turn = rng.uniform(3, 9), rng.uniform(-0.4, 0.4)
    across, down = x + np.float32(turn) * y, y - np.float32(turn) * x
    lines = [np.abs(np.sin(np.pi * np.float32(count) * axis)) for axis in (across, down)]
    return np.exp(-np.square(np.minimum(*lines) / np.float32(0.2))).astype(np.float32)


def horizon(rng: Rng, size: int) -> Plane:
    """Two regions with an uneven border, as ground and wall, 0 to 1."""
    height = ramp(rng, size) + np.float32(0.08) * smooth_noise(rng, size, 6)
    return (0.5 + 0.5 * np.tanh(12 * (height - np.float32(rng.uniform(-0.4, 0.4))))).astype(np.float32)


def clouds(rng: Rng, size: int) -> Plane:
    """No pattern other than large soft patches, 0 to 1."""
    return (0.5 + 0.5 * np.tanh(smooth_noise(rng, size, 3))).astype(np.float32)


PATTERNS: tuple[Callable[[Rng, int], Plane], ...] = (clouds, waves, tiles, horizon)


def backdrop_colours(rng: Rng) -> tuple[Plane, Plane]:
    """Two related colours, seldom strong ones."""
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.05, 0.6), rng.uniform(0.3, 0.75)
    step = rng.choice([-1, 1]) * rng.uniform(0.1, 0.28)
    first = colorsys.hsv_to_rgb(hue, saturation, value)
    second = colorsys.hsv_to_rgb((hue + rng.uniform(-0.1, 0.1)) % 1, saturation * 0.8, value + step)
    return np.array(first, np.float32), np.array(second, np.float32)


def draw_backdrop(rng: Rng, size: int) -> Backdrop:
    """Two colours mixed by a pattern and by grain of many scales."""
    colours = backdrop_colours(rng)
    pattern = PATTERNS[rng.integers(len(PATTERNS))](rng, size)
    grain = fractal_noise(rng, size, int(rng.integers(3, 8)), octaves=5)
    texture = np.clip(0.6 * pattern + 0.2 + np.float32(rng.uniform(0.08, 0.2)) * grain, 0, 1)
    return Backdrop(mixed(colours, texture), colours, texture)


def mixed(colours: tuple[Plane, Plane], share: Plane) -> Plane:
    """The first colour where `share` is 0, the second where it is 1."""
    return colours[0] + (colours[1] - colours[0]) * share[..., None]


# --- Shapes: the distance of their outline from the centre, by angle ---


def ellipse(rng: Rng, angle: Plane) -> Plane:
    """An even distance; `outline` makes it an ellipse."""
    return np.ones_like(angle)


def blob(rng: Rng, angle: Plane) -> Plane:
    """A wobbly distance."""
    radius = np.ones_like(angle)
    for wave in range(2, 6):
        radius += np.float32(rng.uniform(0, 0.5) / wave) * np.cos(wave * angle + np.float32(rng.uniform(0, 6.3)))
    return radius


def star(rng: Rng, angle: Plane) -> Plane:
    """Several points."""
    points, depth = int(rng.integers(4, 8)), rng.uniform(0.25, 0.5)
    position = np.abs(np.mod(angle * points / (2 * np.pi), 1) * 2 - 1)
    return (1 - np.float32(depth) * position).astype(np.float32)


def polygon(rng: Rng, angle: Plane) -> Plane:
    """The sides of a regular polygon; `outline` stretches and bends it."""
    corners = int(rng.integers(3, 7))
    half = np.pi / corners
    return (np.cos(half) / np.cos(np.mod(angle, 2 * half) - half)).astype(np.float32)


RADII: tuple[Callable[[Rng, Plane], Plane], ...] = (ellipse, blob, blob, star, polygon)


def outline(rng: Rng) -> Plane:
    """A random closed outline of unit area, N x 2, turned, stretched and perhaps bent like a banana."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False, dtype=np.float32)
    radius = RADII[rng.integers(len(RADII))](rng, angle)
    long = rng.uniform(1.5, 2.0) if rng.random() < 0.25 else rng.uniform(1.0, 1.35)
    points = np.stack([radius * np.cos(angle) * np.float32(long), radius * np.sin(angle) / np.float32(long)], axis=1)
    if rng.random() < 0.3:
        points[:, 1] += np.float32(rng.uniform(-0.3, 0.3)) * np.square(points[:, 0])
    turn = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    points = points @ np.array([[cosine, sine], [-sine, cosine]], np.float32)
    return np.asarray(points / np.sqrt(cv2.contourArea(points)), np.float32)


def draw_shape(rng: Rng, size: int, area: float, at_border: bool) -> Plane:
    """Coverage (0 to 1) of one shape of about `area` of the picture, perhaps with a hole."""
    points = outline(rng)
    hole = rng.uniform(0.35, 0.6) if rng.random() < 0.2 else 0.0
    centre = rng.uniform(0.15, 0.85, 2)
    if at_border:
        centre[rng.integers(2)] = rng.choice([0.06, 0.94])
    outer = points * np.float32(np.sqrt(area / (1 - hole**2)))
    rings = [outer, outer * np.float32(hole)] if hole else [outer]
    pixels = [np.rint((ring + centre) * size * 16).astype(np.int32) for ring in rings]
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, pixels, color=(255,), lineType=cv2.LINE_AA, shift=4)
    return (canvas / 255).astype(np.float32)


def touches_border(alpha: Plane) -> bool:
    """Whether an object reaches the picture's border."""
    return bool(alpha[[0, -1]].any() or alpha[:, [0, -1]].any())


def draw_objects(rng: Rng, size: int) -> Plane:
    """Coverage (0 to 1) of the one or two salient objects, drawn again until their place and area are right."""
    count = 2 if rng.random() < 0.2 else 1
    at_border = rng.random() < 0.2
    for _ in range(1000):
        total = rng.uniform(0.05, 0.34)
        shapes = [draw_shape(rng, size, total / count, at_border) for _ in range(count)]
        alpha = np.max(shapes, axis=0)
        apart = count == 1 or not np.any(blurred(shapes[0], 2) * blurred(shapes[1], 2) > 1e-3)
        in_bounds = MIN_AREA <= np.mean(alpha >= 0.5) <= MAX_AREA
        if apart and in_bounds and touches_border(alpha) == at_border:
            return alpha
    raise AssertionError("no objects with an area within bounds in 1000 draws")


# --- Distractors: what shows in one modality and is not salient ---


def free_point(rng: Rng, alpha: Plane) -> tuple[float, float]:
    """A point (x, y in 0 to 1) away from the objects."""
    size = alpha.shape[0]
    free = np.flatnonzero(blurred(alpha, 6) < 0.02)
    place = int(rng.choice(free)) if free.size else 0
    return (place % size + 0.5) / size, (place // size + 0.5) / size


def soft_patch(rng: Rng, alpha: Plane, radius: float) -> Plane:
    """An uneven spot with a blurry edge, 0 to 1; `radius` is a share of the picture's side."""
    size = alpha.shape[0]
    centre_x, centre_y = free_point(rng, alpha)
    x, y = coordinates(size)
    stretch = rng.uniform(0.7, 1.4)
    along, across = (
        (x - np.float32(centre_x)) * np.float32(stretch),
        (y - np.float32(centre_y)) / np.float32(stretch),
    )
    distance = (np.square(along) + np.square(across)) / np.float32(radius**2)
    return np.exp(-distance * np.exp(0.25 * smooth_noise(rng, size, 4))).astype(np.float32)


def specks(rng: Rng, alpha: Plane) -> Plane:
    """A few spots too small to be salient, 0 to 1."""
    size = alpha.shape[0]
    canvas = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(2, 6)):
        x, y = free_point(rng, alpha)
        centre = (round(x * size * 16), round(y * size * 16))
        radius = round(rng.uniform(0.007, 0.016) * size * 16)
        cv2.circle(canvas, centre, radius, (255,), -1, cv2.LINE_AA, shift=4)
    return (canvas / 255).astype(np.float32)


# --- The RGB image ---


class Failure(NamedTuple):
    """How a modality loses the object.

    Attributes:
        contrast: The share of the object's own appearance that is left.
        gain: The share of the whole scene's contrast that is left.
        level: The grey that replaces the lost contrast.
        noise: The deviation of the sensor's noise.
        blur: Gaussian blur, in pixels of a 160-pixel picture.
    """

    contrast: float = 1.0
    gain: float = 1.0
    level: float = 0.0
    noise: float = 0.01
    blur: float = 0.0


def rgb_failure(rng: Rng) -> Failure:
    """Camouflage as often as night, over-exposure and noise together."""
    modes = (
        Failure(contrast=rng.uniform(0.0, 0.06), noise=0.015),
        Failure(contrast=0.15, gain=rng.uniform(0.04, 0.1), level=0.01, noise=rng.uniform(0.03, 0.05)),
        Failure(contrast=0.15, gain=rng.uniform(0.06, 0.14), level=0.98, noise=rng.uniform(0.03, 0.05)),
        Failure(contrast=0.15, gain=rng.uniform(0.25, 0.4), level=0.4, noise=rng.uniform(0.2, 0.3)),
    )
    return modes[rng.choice(len(modes), p=[0.5, 0.2, 0.15, 0.15])]


def distant_colour(rng: Rng, others: tuple[Plane, ...], distance: float) -> Plane:
    """A colour at least `distance` from each of the others (Euclidean, in RGB of 0 to 1)."""
    while True:
        hsv = rng.uniform(0, 1), rng.uniform(0.15, 0.95), rng.uniform(0.15, 0.95)
        colour = np.array(colorsys.hsv_to_rgb(*hsv), np.float32)
        if all(np.linalg.norm(colour - other) >= distance for other in others):
            return colour


def object_surface(rng: Rng, backdrop: Backdrop) -> Plane:
    """The objects' own texture and colour, lit from one side."""
    size = backdrop.texture.shape[0]
    colour = distant_colour(rng, backdrop.colours, 0.45)
    colours = colour, np.clip(colour + np.float32(rng.choice([-1, 1]) * rng.uniform(0.05, 0.25)), 0, 1)
    pattern = PATTERNS[rng.integers(len(PATTERNS))](rng, size)
    share = np.clip(pattern + np.float32(0.2) * fractal_noise(rng, size, 6, octaves=4), 0, 1)
    light = 1 + np.float32(rng.uniform(0, 0.2)) * ramp(rng, size)
    return mixed(colours, share) * light[..., None]


def illumination(rng: Rng, size: int) -> Plane:
    """Factors of brightness: slow shading, darker corners, and sometimes the soft edge of a shadow."""
    x, y = coordinates(size)
    corners = np.square(2 * x - 1) + np.square(2 * y - 1)
    light = 1 + np.float32(rng.uniform(0, 0.2)) * ramp(rng, size) - np.float32(rng.uniform(0, 0.2)) * corners
    if rng.random() < 0.3:
        shadow = 0.5 + 0.5 * np.tanh(8 * (ramp(rng, size) - np.float32(rng.uniform(0, 0.6))))
        light *= 1 - np.float32(rng.uniform(0.2, 0.4)) * shadow
    return (light * np.float32(rng.uniform(0.75, 1.15))).astype(np.float32)


def stained(rng: Rng, image: Plane, alpha: Plane) -> Plane:
    """With a coloured stain or a few coloured specks beside the objects, if the draw has any."""
    colour = distant_colour(rng, (), 0)
    if rng.random() < 0.45:
        share = np.float32(rng.uniform(0.5, 0.9)) * soft_patch(rng, alpha, rng.uniform(0.08, 0.17))
        image = image + (colour - image) * share[..., None]
    if rng.random() < 0.35:
        image = image + (colour - image) * specks(rng, alpha)[..., None]
    return image


def with_glare(rng: Rng, image: Plane, alpha: Plane) -> Plane:
    """With the glow of a lamp beside the objects, if the draw has one."""
    if rng.random() < 0.2:
        tint = np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.6, 1)], np.float32)
        image = image + 1.4 * soft_patch(rng, alpha, rng.uniform(0.05, 0.1))[..., None] * tint
    return image


def render_rgb(rng: Rng, backdrop: Backdrop, alpha: Plane, fails: bool) -> Plane:
    """The camera's image; `alpha` is the objects' coverage, and `fails` says whether the camera loses them."""
    failure = rgb_failure(rng) if fails else Failure()
    share = np.float32(failure.contrast) * alpha[..., None]
    image = backdrop.rgb + (object_surface(rng, backdrop) - backdrop.rgb) * share
    image = stained(rng, image, alpha) * illumination(rng, len(alpha))[..., None]
    image = np.float32(failure.level) + (image - np.float32(failure.level)) * np.float32(failure.gain)
    image = np.clip(with_glare(rng, image, alpha), 0, 1)
    return image + np.float32(failure.noise) * rng.standard_normal(image.shape, dtype=np.float32)


# --- The thermal image ---


def thermal_failure(rng: Rng) -> Failure:
    """Cross-over (object and background equally warm) as often as blur and noise together."""
    modes = (
        Failure(contrast=rng.uniform(-0.06, 0.06), noise=0.012),
        Failure(contrast=0.2, gain=0.5, noise=rng.uniform(0.02, 0.03), blur=rng.uniform(6, 9)),
        Failure(contrast=0.2, gain=0.35, noise=rng.uniform(0.05, 0.08), blur=2.0),
    )
    return modes[rng.choice(len(modes), p=[0.5, 0.25, 0.25])]


def warm_patches(rng: Rng, alpha: Plane) -> Plane:
    """Temperatures of blurry things beside the objects, if the draw has any: most warm, some cold."""
    total = np.zeros_like(alpha)
    for _ in range(rng.choice([0, 1, 2], p=[0.35, 0.45, 0.2])):
        strength = rng.uniform(0.15, 0.35) * rng.choice([-1, 1], p=[0.3, 0.7])
        total += np.float32(strength) * soft_patch(rng, alpha, rng.uniform(0.08, 0.17))
    if rng.random() < 0.3:
        total += np.float32(rng.uniform(0.2, 0.4)) * specks(rng, alpha)
    return total


def temperatures(rng: Rng, backdrop: Backdrop, alpha: Plane, contrast: float) -> Plane:
    """The scene before the sensor; an object stands out from what lies around it, not from everything."""
    size = len(alpha)
    drift = smooth_noise(rng, size, 2) + np.float32(rng.uniform(0, 1)) * ramp(rng, size)
    ground = np.float32(rng.uniform(0.03, 0.075)) * drift + np.float32(rng.uniform(0, 0.06)) * backdrop.texture
    own = rng.uniform(0.22, 0.38) * rng.choice([-1, 1], p=[0.3, 0.7]) * contrast
    surface = 1 + np.float32(0.15) * fractal_noise(rng, size, 4, octaves=2)
    return ground + np.float32(own) * alpha * surface + warm_patches(rng, alpha)


def render_thermal(rng: Rng, backdrop: Backdrop, alpha: Plane, fails: bool) -> Plane:
    """The thermal image; `alpha` is the objects' coverage, and `fails` says whether the sensor loses them."""
    failure = thermal_failure(rng) if fails else Failure(noise=0.012)
    size = len(alpha)
    image = temperatures(rng, backdrop, alpha, failure.contrast) * np.float32(failure.gain)
    image = blurred(image, float(np.hypot(1.5, failure.blur)))
    image += np.float32(rng.uniform(0.35, 0.55))
    image += np.float32(failure.noise) * rng.standard_normal((size, size), dtype=np.float32)
    image += np.float32(0.006) * rng.standard_normal((1, size), dtype=np.float32)  # each column has its own amplifier
    return np.clip(image, 0.04, 0.96)


# --- Writing ---


def encoded(suffix: str, image: Bytes) -> bytes:
    """The bytes of an image file; colours in OpenCV's order, blue first."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    written, data = cv2.imencode(suffix, image, settings)
    assert written, f"OpenCV did not encode a {suffix} of shape {image.shape}"
    return data.tobytes()


def write_scene(folder: Path, stem: str, scene: Scene) -> None:
    """Writes one scene into `folder`/RGB, T and GT; the thermal image gets three equal channels."""
    bgr, grey = scene.rgb[..., ::-1], np.repeat(scene.thermal[..., None], 3, axis=2)
    (folder / "RGB" / f"{stem}.jpg").write_bytes(encoded(".jpg", np.ascontiguousarray(bgr)))
    (folder / "T" / f"{stem}.jpg").write_bytes(encoded(".jpg", grey))
    (folder / "GT" / f"{stem}.png").write_bytes(encoded(".png", scene.mask))


def write_set(root: Path, counts: tuple[int, int], size: int, seed: int) -> None:
    """Writes both splits below `root`, which must not hold them yet."""
    for split, (name, count) in enumerate(zip(SPLITS, counts, strict=True)):
        for folder in FOLDERS:
            (root / name / folder).mkdir(parents=True)
        for index in range(count):
            write_scene(root / name, f"{index + 1:04d}", make_scene(seed, split, index, size))


def recorded(output: Path) -> dict[str, Any] | None:
    """The parameters of the set that `output` holds, or None where the record and the files disagree."""
    try:
        record = json.loads((output / RECORD).read_text(encoding="utf-8"))
        expected = {name: record[name.lower()] for name in SPLITS}
        found = [(name, len(os.listdir(output / "VT5000" / name / sub))) for name in SPLITS for sub in FOLDERS]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if all(count == expected[name] for name, count in found) else None


def install(made: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Moves a finished set to its place; what stood there is deleted if this program made it, else kept."""
    target, spare = output / "VT5000", made.parent / "replaced"  # made.parent is deleted in the end
    if os.path.lexists(target):
        if recorded(output) is None:
            spare = Path(tempfile.mkdtemp(prefix="VT5000.replaced-", dir=output)) / "VT5000"
            print(f"{target} was not made by this program: kept as {spare}")
        (output / RECORD).unlink(missing_ok=True)
        target.rename(spare)
    made.rename(target)
    record = made.parent / RECORD
    record.write_text(json.dumps(parameters) + "\n", encoding="utf-8")
    record.replace(output / RECORD)


def make_set(output: Path, counts: tuple[int, int], size: int, seed: int, force: bool = False) -> None:
    """Makes `output`/VT5000, whole or not at all, unless `output` already holds the same set.

    Raises:
        UserError: Another VT5000 is in the way and `force` is off, or `output` cannot be written.
    """
    target = output / "VT5000"
    parameters = {"version": VERSION, "train": counts[0], "test": counts[1], "size": size, "seed": seed}
    if os.path.lexists(target) and not force:
        if recorded(output) == parameters:
            print(f"{target} already holds this set")
            return
        raise UserError(f"{target} exists and is not this set: choose another --output, or use --force")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".demo_set-", dir=output) as temporary:
            made = Path(temporary) / "VT5000"
            write_set(made, counts, size, seed)
            install(made, output, parameters)
    except OSError as error:
        raise UserError(f"--output {output}: {error}") from error
    print(f"{target}: {counts[0]} training and {counts[1]} test scenes of {size} x {size} px, seed {seed}")


# --- The command line ---

BOUNDS = {"train": (1, 9999), "test": (1, 9999), "size": (64, 1024), "seed": (0, 2**32 - 1)}


class Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, as every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Raises what `run_main` prints."""
        raise UserError(message)


def parsed() -> argparse.Namespace:
    """The command line's options.

    Raises:
        UserError: Some are missing, unknown or out of bounds; one line for each that is out of bounds.
    """
    parser = Parser(
        description="Makes a small synthetic set of RGB-T pairs in the layout of VT5000.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where to put VT5000/")
    parser.add_argument("--train", type=int, default=240, help="training scenes")
    parser.add_argument("--test", type=int, default=60, help="test scenes")
    parser.add_argument("--size", type=int, default=160, help="height and width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another set")
    parser.add_argument("--force", action="store_true", help="replace another DIR/VT5000")
    options = parser.parse_args()
    values = {name: getattr(options, name) for name in BOUNDS}
    faults = [
        f"--{name} {values[name]}: expected {low} to {high}"
        for name, (low, high) in BOUNDS.items()
        if not low <= values[name] <= high
    ]
    if faults:
        raise UserError("\n".join(faults))
    return options


def main() -> None:
    """Makes the set that the command line asks for."""
    options = parsed()
    make_set(options.output, (options.train, options.test), options.size, options.seed, options.force)


if __name__ == "__main__":
    run_main(main)
