"""The network: SAM2's parts, the adapters, the whole model and its losses. Importing it fills the registries."""

from samsod.modeling import adapters, losses, samsod, scribble_losses

__all__ = ["adapters", "losses", "samsod", "scribble_losses"]
