"""A mask's skeleton: one pixel wide, connected as the mask is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_AROUND = {"NW": (-1, -1), "N": (-1, 0), "NE": (-1, 1), "E": (0, 1), "SE": (1, 1), "S": (1, 0), "SW": (1, -1)}
_AROUND["W"] = (0, -1)
"""A pixel's neighbours by name, clockwise: rows down and columns right of it."""
_FULL = 255
_EXCEPTIONS: dict[tuple[int, ...], str] = {
    (): "SE-S NW-W",
    (0,): "NW-N N-NE NE-E N-NE-E NW-N-W NW-N-E N-NE-W NW-S-W N-SW-W N-NE-SW-W",
    (1,): "E-SE S-SW SW-W E-SE-S S-SW-W N-E-SE SE-S-W E-S-SW NE-E-S-SW",
    (0, 1): "N-E E-S N-W S-W",
}
"""Where scikit-image, whose skeletons the published human correction efforts use, departs from the published rule: in
which of the two passes a pixel with just these neighbours goes. Found by comparing skeletons of small masks."""


def thinned(mask: np.ndarray) -> np.ndarray:
    """Takes away pixels from the mask's border, in two passes by turns, until none may go.

    Source: Zhang and Suen, "A Fast Parallel Algorithm for Thinning Digital Patterns", Communications of the ACM 27
    (1984), with the exceptions above: equal to `skimage.morphology.skeletonize`.

    Args:
        mask: bool, H×W.

    Returns:
        bool, H×W.
    """
    padded = np.pad(mask, 1)
    flat, width = padded.ravel(), padded.shape[1]
    steps = [down * width + right for down, right in _AROUND.values()]
    places = np.flatnonzero(flat)
    border = places[_neighbours(flat, places, steps) != _FULL]
    gone_lately = 1
    while gone_lately:
        gone_lately = 0
        for removable in _TABLES:
            gone = border[removable[_neighbours(flat, border, steps)]]
            if gone.size:
                flat[gone] = False
                beside = np.concatenate([border, *(gone + step for step in steps)])
                border = np.unique(beside[flat[beside]])
                gone_lately += gone.size
    return padded[1:-1, 1:-1].copy()


def _neighbours(flat: np.ndarray, places: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Which of their eight neighbours the pixels have, a bit for each."""
    code = np.zeros(places.size, np.uint8)
    for bit, step in enumerate(steps):
        code |= flat[places + step].astype(np.uint8) << np.uint8(bit)
    return code


def _tables() -> np.ndarray:
    """For each pass and each set of neighbours whether the pixel goes: bool, 2×256."""
    has = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)  # 256×8, clockwise
    count = has.sum(axis=1)
    starts = (~has & np.roll(has, -1, axis=1)).sum(axis=1)
    north, east, south, west = (has[:, list(_AROUND).index(name)] for name in ("N", "E", "S", "W"))
    candidate = (count >= 2) & (count <= 6) & (starts == 1)
    first = candidate & ~(north & east & south) & ~(east & south & west)
    second = candidate & ~(north & east & west) & ~(north & south & west)
    tables = np.stack([first, second])
    for passes, sets in _EXCEPTIONS.items():
        for names in sets.split():
            code = sum(1 << list(_AROUND).index(name) for name in names.split("-"))
            tables[:, code] = [number in passes for number in (0, 1)]
    return tables


_TABLES = _tables()
