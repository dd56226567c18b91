"""The metrics that are computed when asked for by name; importing this fills `METRICS`."""

from samsod.evaluation.metrics.further import (
    boundary_iou,
    confusion,
    context,
    correction_efforts,
    multiscale_iou,
    size_invariant,
)

__all__ = ["boundary_iou", "confusion", "context", "correction_efforts", "multiscale_iou", "size_invariant"]
