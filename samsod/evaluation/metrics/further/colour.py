"""Colours as they are seen: CIE Lab, and the difference CIEDE2000."""

from __future__ import annotations

import numpy as np

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
"""ITU-R BT.709's primaries, in rows for X, Y and Z."""
_WHITE = np.array([0.95047, 1.0, 1.08883])
"""D65 seen at 2°."""
_FAR = 25.0**7


def lab(colours: np.ndarray) -> np.ndarray:
    """CIE L*, a*, b* of sRGB colours.

    Args:
        colours: uint8, [..., 3], red first.

    Returns:
        float64, [..., 3].
    """
    share = colours / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    xyz = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 colour difference, all weights 1.

    Source: Sharma et al., "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test Data, and
    Mathematical Observations", Color Research and Application 30 (2005), eq. 2 to 22.

    Args:
        first: L*, a*, b*, [..., 3].
        second: The same.

    Returns:
        [...], 0 for equal colours, about 1 for the smallest difference seen.
    """
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(colours, -1, 0) for colours in (first, second))
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + _FAR)))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.arctan2(b, stretch * a) % (2 * np.pi) for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = h2 - h1
    turn = np.where(grey, 0, turn - 2 * np.pi * np.sign(turn) * (np.abs(turn) > np.pi))
    hue = h1 + h2
    hue = np.where(np.abs(h1 - h2) > np.pi, hue + np.where(hue < 2 * np.pi, 2, -2) * np.pi, hue)
    hue = np.where(grey, h1 + h2, hue / 2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = 1 - 0.17 * np.cos(hue - np.pi / 6) + 0.24 * np.cos(2 * hue)
    weight += 0.32 * np.cos(3 * hue + np.pi / 30) - 0.20 * np.cos(4 * hue - np.radians(63))
    from_grey = (lightness - 50) ** 2
    dl = (l2 - l1) / (1 + 0.015 * from_grey / np.sqrt(20 + from_grey))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * weight)
    rotation = (
        2
        * np.sqrt(chroma**7 / (chroma**7 + _FAR))
        * np.sin(np.radians(60) * np.exp(-(((np.degrees(hue) - 275) / 25) ** 2)))
    )
    return np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 - rotation * dc * dh, 0))
