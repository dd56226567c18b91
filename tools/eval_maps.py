"""Scores folders of saliency maps: `python tools/eval_maps.py --pred [NAME=]DIR ... --gt [NAME=]DIR ... [--json]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from samsod.config.command_line import OneLineParser, add_reported, positive
from samsod.utils.errors import run_main


def main() -> None:
    """Scores every method on every data set and prints the table, or JSON."""
    args = parse()
    from samsod.evaluation.maps.results import as_json, compare, name_folders, open_cache, summarise, write_results
    from samsod.evaluation.maps.scoring import find_maps, score_maps
    from samsod.evaluation.tables.reported import named_rows
    from samsod.utils.files import check_writable

    truths = name_folders("--gt", args.gt)
    reported = named_rows(args.reported, list(truths))
    map_sets = find_maps(name_folders("--pred", args.pred), truths)
    if args.output:
        check_writable(args.output)
    cache = None if args.no_cache else open_cache(args.cache)
    results = summarise(score_maps(map_sets, args.threads, cache, not args.no_weighted_f))
    table = compare(results, args.digits, reported)
    if args.output:
        write_results(args.output, results, table)
    print(as_json(results) if args.json else table.text(), end="" if args.json else "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = OneLineParser(
        description="Scores the saliency maps of any methods on any data sets. A map and its mask have one file stem; "
        "with several data sets, a method's folder has a sub-folder called as each."
    )
    parser.add_argument("--pred", action="append", required=True, metavar="[NAME=]DIR", help="a method; repeatable")
    parser.add_argument("--gt", action="append", required=True, metavar="[NAME=]DIR", help="masks; repeatable")
    parser.add_argument("--json", action="store_true", help="print method -> data set -> metric as JSON alone")
    parser.add_argument("--output", metavar="DIR", type=Path, help="write results.json, .csv, .md and .tex there")
    add_reported(parser)
    parser.add_argument("--digits", type=int, choices=(3, 4), default=4, help="digits of the tables (default: 4)")
    parser.add_argument("--no-weighted-f", action="store_true", help="leave out the weighted F, which takes longest")
    parser.add_argument(
        *("--threads", "--processes"), type=positive, metavar="N", help="scoring threads (default: one for each core)"
    )
    parser.add_argument("--cache", metavar="DIR", type=Path, help="where scores are kept; default: ~/.cache/samsod")
    parser.add_argument("--no-cache", action="store_true", help="neither look for known scores nor keep them")
    args = parser.parse_args()
    if args.cache and args.no_cache:
        parser.error("--cache and --no-cache exclude each other")
    return args


if __name__ == "__main__":
    run_main(main)
