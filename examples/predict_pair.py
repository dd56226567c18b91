"""Predicts one pair through the Python API: `python examples/predict_pair.py CHECKPOINT RGB THERMAL OVERLAY.png`."""

import sys

import cv2

import samsod


def main() -> None:
    """Loads the checkpoint, predicts, and writes the map laid over the RGB image."""
    checkpoint, rgb, thermal, overlay = sys.argv[1:]
    predictor = samsod.Predictor.from_checkpoint(checkpoint)
    result = predictor.predict(rgb=rgb, thermal=thermal)
    cv2.imwrite(overlay, result.overlay(rgb)[..., ::-1])  # OpenCV has blue first
    height, width = result.saliency.shape
    print(f"{width}x{height} pixels, {result.mask().mean():.1%} salient, {result.seconds:.2f} s; {overlay}")


if __name__ == "__main__":
    main()
