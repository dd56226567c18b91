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

from samsod.config.command_line import OneLineParser, whole
from samsod.utils.errors import run_main


def parsed() -> argparse.Namespace:
    """The command line's options.

    Raises:
        SystemExit: One is missing, unknown or out of bounds; said in one line.
    """
    parser = OneLineParser(
        description="Makes a small synthetic set of pairs in the layout of VT5000, to try training out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add("--output", type=Path, required=True, metavar="DIR", help="where to put VT5000/")
    parser.add("--train", type=whole(1, 9999), default=240, help="training scenes")
    parser.add("--test", type=whole(1, 9999), default=60, help="test scenes")
    parser.add("--size", type=whole(64, 1024), default=160, help="height and width in pixels")
    parser.add("--seed", type=whole(0, 2**32 - 1), default=0, help="another seed, another set")
    kinds = ("rgb", "depth", "thermal")
    parser.add("--modalities", nargs="+", default=["rgb", "thermal"], choices=kinds, help="its images")
    parser.add("--force", action="store_true", help="replace another DIR/VT5000")
    options = parser.parse_args()
    if len(set(options.modalities)) < len(options.modalities):
        parser.error(f"--modalities {' '.join(options.modalities)}: expected each once")
    return options


def main() -> None:
    """Makes the set that the command line asks for."""
    options = parsed()
    from samsod.data.synthetic.demo_set import make_set

    counts = options.train, options.test
    make_set(options.output, counts, options.size, options.seed, options.force, options.modalities)


if __name__ == "__main__":
    run_main(main)
