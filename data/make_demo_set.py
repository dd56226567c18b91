"""Makes a small synthetic set of RGB-T pairs (or RGB-D, or RGB-D-T), in the layout of VT5000, to try training out.

    python data/make_demo_set.py --output DIR [--train 240] [--test 60] [--size 160] [--seed 0]
                                 [--modalities rgb thermal]

A third of the pairs show the object in both modalities, a third hide it from the camera (camouflage, night,
over-exposure, noise), and a third hide it from the thermal sensor (cross-over, blur, noise). Either image may
also hold things that are not salient: stains, lamps, warm patches. So no threshold and no single modality
solves the set. With `--modalities rgb depth thermal` a fifth each shows the object in all three, hides it from one of
them, and shows it in depth alone.

The same seed gives the same bytes under the same versions of NumPy and OpenCV. At one size, a scene depends
on the seed, its split and its index alone: asking for more scenes leaves the first ones as they were.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from samsod.config.command_line import OneLineParser
from samsod.utils.errors import UserError, run_main

BOUNDS = {"train": (1, 9999), "test": (1, 9999), "size": (64, 1024), "seed": (0, 2**32 - 1)}


def parsed() -> argparse.Namespace:
    """The command line's options.

    Raises:
        UserError: Some are missing, unknown or out of bounds; one line for each that is out of bounds.
    """
    parser = OneLineParser(
        description="Makes a small synthetic set of pairs in the layout of VT5000, to try training out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where to put VT5000/")
    parser.add_argument("--train", type=int, default=240, help="training scenes")
    parser.add_argument("--test", type=int, default=60, help="test scenes")
    parser.add_argument("--size", type=int, default=160, help="height and width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another set")
    parser.add_argument(
        "--modalities", nargs="+", default=["rgb", "thermal"], choices=("rgb", "depth", "thermal"), help="its images"
    )
    parser.add_argument("--force", action="store_true", help="replace another DIR/VT5000")
    options = parser.parse_args()
    values = {name: getattr(options, name) for name in BOUNDS}
    faults = [
        f"--{name} {values[name]}: expected {low} to {high}"
        for name, (low, high) in BOUNDS.items()
        if not low <= values[name] <= high
    ]
    if len(set(options.modalities)) < len(options.modalities):
        faults.append(f"--modalities {' '.join(options.modalities)}: expected each once")
    if faults:
        raise UserError("\n".join(faults))
    return options


def main() -> None:
    """Makes the set that the command line asks for."""
    options = parsed()
    from samsod.data.synthetic.demo_set import make_set

    counts = options.train, options.test
    make_set(options.output, counts, options.size, options.seed, options.force, options.modalities)


if __name__ == "__main__":
    run_main(main)
