from __future__ import annotations

import numpy as np
import pytest

from samsod.data.resizing import with_numpy, with_torch

SIZES = [(1, 1), (1, 700), (2, 3), (63, 65), (64, 64), (97, 64), (480, 640), (641, 33), (1200, 1600)]


@pytest.mark.parametrize("size", [64, 96, 512])
@pytest.mark.parametrize("shape", SIZES)
def test_numpy_and_torch_give_the_same_bits(shape: tuple[int, int], size: int) -> None:
    rng = np.random.default_rng(shape[0] + size)
    noise = rng.integers(0, 256, (*shape, 4), dtype=np.uint8)
    extremes = rng.integers(0, 2, (*shape, 4), dtype=np.uint8) * np.uint8(255)
    for image in (noise, extremes, np.full_like(noise, 255)):
        result = with_numpy(image, size)
        assert result.shape == (size, size, 4) and result.dtype == np.uint8 and result.flags["C_CONTIGUOUS"]
        assert np.array_equal(result, with_torch(image, size))


def test_on_any_sizes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        image = rng.integers(0, 256, (*rng.integers(1, 300, 2), 4), dtype=np.uint8)
        size = 32 * int(rng.integers(2, 12))
        assert np.array_equal(with_numpy(image, size), with_torch(image, size))
