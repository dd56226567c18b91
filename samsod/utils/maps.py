"""Maps by name, as models and predictors give them; without PyTorch, for those that run where it is not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from samsod.utils.errors import Failure

FUSION = "fusion"
"""The stream of all modalities together; the others go by their modality's name."""

FINAL = "final"
"""The final prediction, of the sum of all streams (paper IV.B)."""

Maps = dict[str, npt.NDArray[np.float32]]
"""Logits by map name, `final` or a stream's, on the host."""


def check_finite(maps: Maps, called: str) -> None:
    """Raises Failure when the prediction of an image, which it names, is not finite."""
    if not np.isfinite(maps[FINAL]).all():  # the sum of all streams, so none of them is
        raise Failure(f"{called}: its prediction is not finite; the weights are damaged or engine.precision is too low")
