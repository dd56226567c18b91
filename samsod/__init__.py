"""samsod: RGB-T salient object detection with SAM2, decoupled adapters and gradient surgery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samsod.prediction.onnx_predictor import OnnxPredictor
    from samsod.prediction.predictor import Predictor
    from samsod.prediction.result import SaliencyResult

__version__ = "0.2.0.dev0"
__all__ = ["OnnxPredictor", "Predictor", "SaliencyResult", "__version__"]

_LAZY = {
    "OnnxPredictor": "samsod.prediction.onnx_predictor",
    "Predictor": "samsod.prediction.predictor",
    "SaliencyResult": "samsod.prediction.result",
}


def __getattr__(name: str) -> Any:
    """Imports what takes seconds to load when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
