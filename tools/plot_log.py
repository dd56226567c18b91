"""Draws the curves of runs: `python tools/plot_log.py RUN [RUN ...] [--output FILE] [--metric S]`."""

from pathlib import Path

from samsod.command_line import OneLineParser
from samsod.errors import run_main


def main() -> None:
    """Reads every run's metrics.jsonl and draws them into one picture."""
    parser = OneLineParser(description="Draws loss, validation metric, gradient ratio and cosines of training runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="output folder of tools/train_net.py")
    parser.add_argument("--output", metavar="FILE", type=Path, help="the picture; default: curves.png in the first run")
    parser.add_argument("--metric", default="S", help="validation metric to draw (S, maxF, MAE, ...)")
    args = parser.parse_args()
    from samsod.evaluation.curves import plot_runs, read_run

    path = args.output or args.runs[0] / "curves.png"
    names = [run.name for run in args.runs]
    labels = names if len(set(names)) == len(names) else [str(run) for run in args.runs]
    plot_runs({label: read_run(run) for label, run in zip(labels, args.runs, strict=True)}, path, args.metric)
    print(f"drawn: {path}")


if __name__ == "__main__":
    run_main(main)
