"""The network: backbone, adapters, the whole model and its losses. Importing it fills the registries."""

from samsod.modeling import adapters, losses, sam2, samsod, scribble_losses

__all__ = ["adapters", "losses", "sam2", "samsod", "scribble_losses"]
