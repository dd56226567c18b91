"""Draws curves over the thresholds of any maps: `python tools/plot_curves.py --pred NAME=DIR --gt NAME=DIR`."""

from samsod.config.command_line import OneLineParser, add_shared
from samsod.utils.errors import run_main


def main() -> None:
    """Scores every method's maps on every data set and draws a panel per data set."""
    parser = OneLineParser(
        description="Draws precision-recall and F-measure curves (the paper's Fig. 6), and E-measure curves, of any "
        "methods from their maps."
    )
    add_shared(parser, "--pred", "picture", "--theme")
    parser.add("--gt", nargs="+", action="extend", required=True, metavar="NAME=DIR", help="a data set's masks")
    figures = "which curves: precision-recall, F-measure, E-measure; both: the first two; all: the three"
    parser.add("--figure", default="both", choices=("both", "pr", "f", "e", "all"), help=figures)
    parser.add("--lowest", type=float, metavar="X", help="where the axes start; default: chosen per data set")
    args = parser.parse_args()
    from samsod.drawing.style import THEMES, check_picture
    from samsod.drawing.threshold_curves import METRICS, draw_threshold_curves, threshold_curves
    from samsod.evaluation.maps.results import name_folders, open_cache
    from samsod.evaluation.maps.scoring import find_maps, score_maps
    from samsod.utils.errors import UserError

    if args.lowest is not None and not 0 <= args.lowest < 1:
        raise UserError(f"--lowest: expected a number from 0 to below 1, found {args.lowest:g}")
    check_picture(args.output)
    map_sets = find_maps(name_folders("--pred", args.pred), name_folders("--gt", args.gt))
    scores = score_maps(map_sets, cache=open_cache(None), metrics=METRICS)
    draw_threshold_curves(threshold_curves(scores), args.output, THEMES[args.theme], args.figure, args.lowest)
    print(f"drawn: {args.output}")


if __name__ == "__main__":
    run_main(main)
