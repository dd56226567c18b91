"""Demo scenes: as many show their object to every sensor as hide it from one of them.

Of three sensors it is depth that has scenes of its own besides, whose objects the others do not see.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samsod.data.synthetic.depth import render_depth
from samsod.data.synthetic.shapes import (
    PATTERNS,
    Backdrop,
    Failure,
    Plane,
    Rng,
    blurred,
    coordinates,
    draw_backdrop,
    draw_objects,
    fractal_noise,
    mixed,
    ramp,
    smooth_noise,
    soft_patch,
    specks,
)

Bytes = npt.NDArray[np.uint8]

VERSION = 1  # of the drawing: another number means other pictures for the same seed


class Scene(NamedTuple):
    """One pair and its truth.

    Attributes:
        images: By modality: the camera's image, H x W x 3, red first; the others H x W.
        mask: 255 on the salient object, 0 elsewhere, H x W.
        kind: One of `scene_kinds`.
    """

    images: dict[str, Bytes]
    mask: Bytes
    kind: str


def scene_kinds(modalities: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The kinds of scenes in a set of these modalities: by name, which of them lose the object."""
    kinds: dict[str, tuple[str, ...]] = {"both" if len(modalities) == 2 else "all": ()}
    if len(modalities) > 1:
        kinds |= {f"{name}_fails": (name,) for name in modalities}
    if len(modalities) > 2:
        kinds["depth_only"] = tuple(name for name in modalities if name != "depth")
    return kinds


def make_scene(seed: int, split: int, index: int, size: int, modalities: Sequence[str] = ("rgb", "thermal")) -> Scene:
    """Draws one scene; the kinds take turns over `index`.

    Args:
        seed: The set's seed.
        split: 0 for training, 1 for testing.
        index: The scene's number in its split, from 0.
        size: Height and width in pixels.
        modalities: Some of rgb, depth and thermal.
    """
    rng = np.random.default_rng([seed, split, index])
    kinds = scene_kinds(modalities)
    kind = list(kinds)[index % len(kinds)]
    backdrop = draw_backdrop(rng, size)
    alpha = draw_objects(rng, size)
    mask = np.where(alpha >= 0.5, 255, 0).astype(np.uint8)
    # Always in this order, so that a further modality leaves the images before it as they were.
    render = {"rgb": render_rgb, "thermal": render_thermal, "depth": render_depth}
    drawn = {
        name: draw(rng, backdrop, alpha, name in kinds[kind]) for name, draw in render.items() if name in modalities
    }
    return Scene({name: to_bytes(drawn[name]) for name in modalities}, mask, kind)


def to_bytes(image: Plane) -> Bytes:
    """The image in 256 levels, clipped."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


# --- The RGB image ---


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
