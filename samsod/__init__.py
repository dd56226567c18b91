"""samsod: RGB-T salient object detection with SAM2, decoupled adapters and gradient surgery."""

__version__ = "0.1.0"
