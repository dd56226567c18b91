"""The command line of tools/eval_maps.py; it imports nothing that takes time to load."""

from __future__ import annotations

import argparse
from pathlib import Path

from samsod.config.command_line import OneLineParser, add_shared, names, positive


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = OneLineParser(
        description="Scores the saliency maps of any methods on any data sets. A map and its mask have one file stem; "
        "with several data sets, a method's folder has a sub-folder called as each."
    )
    _add_inputs(parser)
    _add_tables(parser)
    args = parser.parse_args()
    if args.cache and args.no_cache:
        parser.error("--cache and --no-cache exclude each other")
    if args.no_weighted_f and "wf" in map(str.lower, args.columns or ()):
        parser.error("--columns wF and --no-weighted-f exclude each other")
    if args.paired and args.json and not args.output:
        parser.error("--paired with --json goes into a file: name a folder, --output DIR")
    return args


def _add_inputs(parser: OneLineParser) -> None:
    add = parser.add
    around = "; with ,prefix=TEXT or ,suffix=TEXT behind it, of files called so around the stem"
    add("--pred", action="append", required=True, metavar="[NAME=]DIR", help=f"a method; repeatable{around}")
    add("--gt", action="append", required=True, metavar="[NAME=]DIR", help=f"masks; repeatable{around}")
    images = "a data set's images, for the metrics that look at them; repeatable"
    add("--images", action="append", default=[], metavar="[NAME=]DIR", help=images)
    group = "also score the images a text file lists, a stem a line; repeatable"
    add("--group", action="append", default=[], metavar="[SET:]NAME=LIST", help=group)
    video = "names are VIDEO_FRAME: also score the mean over the videos, as is done where files lie in VIDEO/FRAME"
    add("--video", action="store_true", help=video)
    further = "further metrics: IoU, Dice, precision, recall, specificity, BER, SI-MAE, SI-F, MSIoU, HCE, CM, CCM, BIoU"
    add("--metrics", action="extend", type=names, default=[], metavar="NAME,...", help=further)
    add("--no-weighted-f", action="store_true", help="leave out the weighted F, which takes longest")
    paired = "whether two methods differ: bootstrap intervals of their differences over the same images"
    add("--paired", nargs=2, metavar=("A", "B"), help=paired)
    add("--resamples", type=positive, default=2000, metavar="N", help="draws of the bootstrap (default: 2000)")
    threads = "scoring threads (default: one for each core)"
    add("--threads", "--processes", type=positive, metavar="N", help=threads)
    add("--cache", metavar="DIR", type=Path, help="where scores are kept; default: ~/.cache/samsod")
    add("--no-cache", action="store_true", help="neither look for known scores nor keep them")


def _add_tables(parser: OneLineParser) -> None:
    add = parser.add
    add_shared(parser, "--json", "--reported")
    add("--output", metavar="DIR", type=Path, help="write results.json, .csv, .md and .tex there")
    add("--xlsx", metavar="FILE", type=Path, help="write the table as a workbook (needs openpyxl)")
    add("--per-image", metavar="FILE", type=Path, help="write every image's scores as CSV")
    add("--columns", type=names, metavar="NAME,...", help="the tables' columns, in this order")
    add("--digits", type=int, choices=(3, 4), default=4, help="digits of the tables (default: 4)")
    colours = "in LaTeX, the best three red, green and blue, through xcolor"
    add("--latex-colours", action="store_true", help=colours)
