"""What a prediction gives: the saliency map, and masks and pictures made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from samsod.data.decoding.images import Bytes, Mask, cv2, read_rgb
from samsod.data.pictures import Floats, quantised
from samsod.utils.errors import UserError

COLOUR = (255, 60, 60)
STRONGEST = 0.6
"""Share of the colour in an overlay where the saliency is 1."""


@dataclass(frozen=True)
class SaliencyResult:
    """The prediction for one image.

    Attributes:
        saliency: float32 `[H,W]` in 0-1, at the reference's size.
        streams: The same of every stream alone (`fusion` and the modalities), by name.
        seconds: What the image took: reading, network and resizing; of images predicted together, each the same share.
    """

    saliency: Floats
    streams: Mapping[str, Floats]
    seconds: float

    def grey(self) -> Bytes:
        """The map as tools/test_net.py and tools/predict.py save it, uint8 `[H,W]`."""
        return quantised(self.saliency)

    def mask(self, threshold: float | str = 0.5) -> Mask:
        """The salient pixels, bool `[H,W]`; see `mask_of`."""
        return mask_of(self.saliency, threshold)

    def overlay(self, image: str | Path | npt.NDArray[Any]) -> Bytes:
        """The map laid in red over an image; see `overlay_of`."""
        picture = read_rgb(image) if isinstance(image, (str, Path)) else np.asarray(image)
        return overlay_of(self.saliency, picture)


def mask_of(saliency: Floats, threshold: float | str = 0.5) -> Mask:
    """The salient pixels of a map.

    Args:
        saliency: float32 `[H,W]` in 0-1.
        threshold: A pixel is salient from it on. `adaptive`: twice the mean of the map, at most 1, as the adaptive
            F-measure has it; `otsu`: what divides the map's histogram best (Otsu 1979).

    Returns:
        bool `[H,W]`.

    Raises:
        UserError: The threshold is neither.
    """
    if threshold == "adaptive":
        return saliency >= min(2 * float(saliency.mean()), 1.0)
    if threshold == "otsu":
        grey = quantised(saliency)
        level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        return grey > level
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise UserError(f"threshold: expected a number from 0 to 1, 'adaptive' or 'otsu', found {threshold!r}")
    return saliency >= threshold


def overlay_of(saliency: Floats, picture: npt.NDArray[Any]) -> Bytes:
    """A map laid in red over its image.

    Args:
        saliency: float32 `[H,W]` in 0-1.
        picture: uint8, `[H,W]` or `[H,W,3]` with red first.

    Returns:
        uint8 `[H,W,3]`.

    Raises:
        UserError: The picture has another size or type.
    """
    if picture.dtype != np.uint8 or picture.shape not in (saliency.shape, (*saliency.shape, 3)):
        height, width = saliency.shape
        found = f"{picture.dtype} of the shape {list(picture.shape)}"
        raise UserError(f"overlay: expected an 8-bit image of {width}x{height} pixels, found {found}")
    colours = (picture if picture.ndim == 3 else picture[..., None]).astype(np.float32)
    share = (saliency * np.float32(STRONGEST))[..., None]
    return np.rint(colours * (1 - share) + np.array(COLOUR, np.float32) * share).astype(np.uint8)
