"""Draws the curves of runs: `python tools/plot_log.py RUN [RUN ...] [--figure ratio] [--theme dark]`."""

from pathlib import Path

from samsod.config.command_line import OneLineParser, add_shared
from samsod.utils.errors import run_main


def main() -> None:
    """Reads every run's metrics.jsonl and draws them into one picture."""
    parser = OneLineParser(
        description="Draws loss, validation metric, gradient-norm ratio (the paper's Fig. 3) and cosines of the "
        "losses' gradients (Fig. 4) of training runs: what was logged faintly, smoothed over a twelfth of it on top."
    )
    add_shared(parser, "--metric", "--theme")
    parser.add("runs", nargs="+", metavar="[NAME=]RUN", help="output folder of tools/train_net.py")
    parser.add("--figure", default="all", choices=("all", "loss", "validation", "ratio", "cosines"))
    parser.add("--output", metavar="FILE", type=Path, help="the picture; default: curves.png in the first run")
    parser.add("--ratio", metavar="A/B", default="", help="which gradients' ratio to draw; default: all")
    args = parser.parse_args()
    if args.ratio and args.figure not in ("all", "ratio"):
        parser.error(f"--ratio is for --figure ratio or all, not {args.figure}")
    from samsod.drawing.run_curves import read_run
    from samsod.drawing.runs import draw_panels, run_panels
    from samsod.drawing.style import THEMES, check_picture
    from samsod.evaluation.maps.results import name_folders
    from samsod.evaluation.metrics.choice import chosen_columns

    (metric,) = chosen_columns([args.metric])
    runs = name_folders("run", args.runs)
    default = "curves.png" if args.figure == "all" else f"{args.figure}.png"
    path = args.output or next(iter(runs.values())) / default
    check_picture(path)
    panels = run_panels({name: read_run(folder) for name, folder in runs.items()}, args.figure, metric, args.ratio)
    draw_panels(panels, path, THEMES[args.theme])
    print(f"drawn: {path}")


if __name__ == "__main__":
    run_main(main)
