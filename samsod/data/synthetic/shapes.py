"""What demo scenes are made of: fields of noise, backgrounds, outlines, and things that are not salient."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samsod.data.decoding.images import cv2

Plane = npt.NDArray[np.float32]  # H x W, or H x W x 3 in the order red, green, blue; 0 is black and 1 is white
Rng = np.random.Generator

MIN_AREA, MAX_AREA = 0.03, 0.30
"""Share of the image the objects cover."""


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
    along = (x - np.float32(centre_x)) * np.float32(stretch)
    across = (y - np.float32(centre_y)) / np.float32(stretch)
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


# --- Failures ---


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
