"""The metrics of salient object detection."""
