"""The depth image of a demo scene: what is near is bright, and where the sensor gets no reading it is black."""

from __future__ import annotations

import numpy as np

from samsod.data.synthetic.shapes import (
    Backdrop,
    Failure,
    Plane,
    Rng,
    blurred,
    fractal_noise,
    ramp,
    smooth_noise,
    soft_patch,
    specks,
)

JUMP = 0.05
"""On the right of a fall of so much depth, in a step of 1/160 of the side, lies what the sensor's light misses."""


def depth_failure(rng: Rng) -> Failure:
    """A flat object (a picture on a wall) as often as a sensor that is out of its range, or coarse."""
    modes = (
        Failure(contrast=rng.uniform(-0.06, 0.06), noise=0.008),
        Failure(contrast=0.2, gain=0.4, noise=rng.uniform(0.05, 0.08), blur=2.0),
        Failure(contrast=0.2, gain=0.5, noise=rng.uniform(0.01, 0.02), blur=rng.uniform(6, 9)),
    )
    return modes[rng.choice(len(modes), p=[0.5, 0.25, 0.25])]


def surfaces(rng: Rng, size: int) -> Plane:
    """The scene without its objects: a floor that recedes, uneven, and often a wall behind it."""
    floor = np.float32(rng.uniform(0.08, 0.2)) * ramp(rng, size)
    floor += np.float32(rng.uniform(0.01, 0.03)) * smooth_noise(rng, size, 3)
    if rng.random() < 0.5:
        across = ramp(rng, size) - np.float32(rng.uniform(-0.5, 0.5))
        floor += np.float32(rng.uniform(0.08, 0.2)) * (0.5 + 0.5 * np.tanh(np.float32(rng.uniform(4, 12)) * across))
    return floor.astype(np.float32)


def mounds(rng: Rng, alpha: Plane) -> Plane:
    """Things that are near or far and have no outline of their own, beside the objects, if the draw has any."""
    total = np.zeros_like(alpha)
    for _ in range(rng.choice([0, 1, 2], p=[0.25, 0.45, 0.3])):
        height = rng.uniform(0.15, 0.35) * rng.choice([-1, 1], p=[0.3, 0.7])
        total += np.float32(height) * soft_patch(rng, alpha, rng.uniform(0.08, 0.18))
    return total


def render_depth(rng: Rng, backdrop: Backdrop, alpha: Plane, fails: bool) -> Plane:
    """The depth image; `alpha` is the objects' coverage, and `fails` says whether the sensor loses them.

    Paint and light (`backdrop`) do not show in it.
    """
    failure = depth_failure(rng) if fails else Failure(noise=0.008)
    size = len(alpha)
    own = np.float32(rng.uniform(0.2, 0.32) * failure.contrast)
    relief = 1 + np.float32(0.1) * fractal_noise(rng, size, 4, octaves=2)
    image = surfaces(rng, size) + mounds(rng, alpha) + own * alpha * relief
    image = blurred(image * np.float32(failure.gain), float(np.hypot(0.4, failure.blur)))
    image += np.float32(rng.uniform(0.3, 0.5)) - image.mean()
    unseen = np.diff(image, axis=1, append=image[:, -1:]) < -JUMP * 160 / size
    image = image + np.float32(failure.noise) * rng.standard_normal((size, size), dtype=np.float32)
    steps = np.float32(rng.integers(60, 120))  # the sensor tells so many distances apart
    image = np.clip(np.rint(image * steps) / steps, 0.04, 0.96)
    image[unseen | (specks(rng, alpha) > 0.5)] = 0
    return image
