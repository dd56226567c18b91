"""Times the metrics beside PySODMetrics: `python tools/bench_metrics.py --reference PYTHON [--pred DIR --gt DIR]`."""

import sys
from pathlib import Path

from samsod.config.command_line import OneLineParser, names, positive
from samsod.utils.errors import run_main


def main() -> None:
    """Measures on generated maps of 640x480 and, when given, on maps in folders."""
    parser = OneLineParser(description="CPU time of the metrics on one core, and how far they are from PySODMetrics.")
    add = parser.add
    add("--reference", metavar="PYTHON", type=Path, help="interpreter of an environment that has PySODMetrics")
    add("--pred", metavar="DIR", type=Path, help="also measure on these saliency maps")
    add("--gt", metavar="DIR", type=Path, help="their masks")
    add("--count", type=positive, default=12, help="how many maps of each kind (default: 12)")
    add("--rounds", type=positive, default=7, help="how often to measure; the median counts (default: 7)")
    add("--metrics", type=names, default=[], metavar="NAME,...", help="also measure these further metrics; all: each")
    args = parser.parse_args()
    if (args.pred is None) != (args.gt is None):
        parser.error("--pred and --gt go together")
    from samsod.benchmarks.metrics import folder_pairs, generated_pairs, measure
    from samsod.benchmarks.reference import SETUP
    from samsod.evaluation.metrics.choice import STANDARD, chosen_metrics, metric_names

    named = chosen_metrics(metric_names() if args.metrics == ["all"] else args.metrics)
    further = [name for name in named if name not in STANDARD]
    if args.reference is None:
        print(f"no --reference: only our own are timed; to compare: {SETUP}", file=sys.stderr)
    pairs = {"generated maps, 640x480": generated_pairs(args.count)}
    if args.pred:
        pairs[f"{args.pred} on {args.gt}"] = folder_pairs(args.pred, args.gt, args.count)
    for title, chosen in pairs.items():
        print(f"{title}, {len(chosen)} pairs, median of {args.rounds} rounds")
        print(measure(chosen, args.rounds, args.reference, further), end="\n\n")


if __name__ == "__main__":
    run_main(main)
