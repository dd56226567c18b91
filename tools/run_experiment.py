"""Makes one of the paper's tables: `python tools/run_experiment.py table3 [--seeds 0,1,2] [key.path=value ...]`."""

import sys
from pathlib import Path

from samsod.config.command_line import OneLineParser, naturals, positive
from samsod.utils.errors import EXIT_FAILURE, run_main

HERE = Path(__file__).resolve().parent


def parser() -> OneLineParser:
    """The command line's options."""
    parser = OneLineParser(description="Makes the runs of a table, goes on with those cut off, and prints the table.")
    add = parser.add
    add("table", metavar="TABLE", help="table1 to table6, rules, or a file such as these")
    add("overrides", nargs="*", metavar="key.path=value", help="settings laid over every row's")
    overlay = "a config laid over every row's; repeatable"
    add("--with", dest="overlays", action="append", default=[], type=Path, metavar="FILE", help=overlay)
    add("--seeds", type=naturals, default=[0, 1, 2], metavar="N,N,...", help="default: 0,1,2")
    add("--output", type=Path, default=Path("output/experiments"), metavar="DIR", help="folder of all runs")
    add("--jobs", type=positive, default=1, metavar="N", help="runs at once, each on its own GPUs")
    add("--ranks", type=positive, default=1, metavar="N", help="processes of every run (torchrun)")
    add("--pred", action="append", default=[], metavar="NAME=DIR", help="maps of another method")
    add("--all-reported", action="store_true", help="also show the other methods the paper reports")
    video = "test images are called VIDEO_FRAME: intervals of differences draw whole videos, as of files VIDEO/FRAME"
    add("--video", action="store_true", help=video)
    add("--dry-run", action="store_true", help="say what would be done and how long it takes; stop")
    return parser


def main() -> None:
    """Plans, estimates, runs and prints."""
    args = parser().parse_intermixed_args()
    from samsod.experiments.plan import leave_out_missing, plan_runs
    from samsod.experiments.table import find_table, read_table
    from samsod.utils.files import check_writable

    path = find_table(args.table, HERE.parent / "configs" / "experiments")
    table = read_table(path)
    check_writable(args.output / path.stem)
    runs = plan_runs(table, path, args.overlays, args.overrides, args.seeds, args.output)
    import torch

    from samsod.experiments.differences import differences_text, row_differences, write_differences
    from samsod.experiments.estimate import estimate, plan_lines
    from samsod.experiments.processes import Stopped
    from samsod.experiments.runner import Launcher, check_free, make_runs, measure_costs
    from samsod.experiments.summary import make_table, other_maps, other_rows, write_table

    table, runs, left_out = leave_out_missing(table, runs)
    gpus = torch.cuda.device_count() if runs[0].config.engine.device != "cpu" else 0
    maps = other_maps(runs[0], args.pred)
    if not args.dry_run:
        check_free(runs)
    try:
        seconds = estimate(runs, torch.device("cuda" if gpus else "cpu"), args.ranks)
        print(table.title, *plan_lines(runs, seconds, args.jobs), *left_out, sep="\n", flush=True)
        if args.dry_run:
            return
        others = other_rows(maps, table.metrics)  # before hours of training, for a map may be damaged
        make_runs(runs, Launcher(HERE, args.jobs, args.ranks, gpus), seconds)
        if table.cost:
            measure_costs(runs, HERE)
    except Stopped as stop:
        print(f"{stop}; the same command goes on from here", file=sys.stderr)
        sys.exit(EXIT_FAILURE)
    comparison = make_table(table, runs, others, args.all_reported)
    write_table(comparison, runs, args.output / path.stem)
    seeds = ", ".join(map(str, args.seeds))
    print(f"{table.title}; {'seed' if len(args.seeds) == 1 else 'mean ± standard deviation over seeds'} {seeds}")
    print(comparison.text(), *left_out, sep="\n")
    if differences := row_differences(table, runs, args.video):
        write_differences(differences, args.output / path.stem)
        print("\nfirst minus second; in how many seeds the first is better; 95 % interval over seeds and images")
        print(differences_text(differences))


if __name__ == "__main__":
    run_main(main)
