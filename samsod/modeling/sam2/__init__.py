"""SAM2's image encoder and mask decoder: the only folder that imports `sam2`."""

from samsod.modeling.sam2 import build

__all__ = ["build"]
