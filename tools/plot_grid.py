"""Draws maps of methods side by side: `python tools/plot_grid.py --data NAME=DIR --pred NAME=DIR --worst 5 ...`."""

from argparse import Namespace

from samsod.config.command_line import OneLineParser, add_shared
from samsod.utils.errors import UserError, run_main


def main() -> None:
    """Chooses the images, reads and scores every method's maps of them and draws the grid."""
    args = parse_arguments()
    from samsod.config import ModelConfig, load_config
    from samsod.config.data_schema import DataConfig, DatasetConfig
    from samsod.data.sources.catalog import find_set
    from samsod.drawing.choice import RULES, find_images
    from samsod.drawing.grid import choose_images, grid_mosaics, read_samples
    from samsod.drawing.mosaic import draw_mosaics
    from samsod.drawing.style import COLUMN, THEMES, check_picture
    from samsod.evaluation.maps.results import name_folders, open_cache
    from samsod.evaluation.maps.selected import find_method_maps
    from samsod.evaluation.metrics.choice import chosen_columns, metrics_of

    if not COLUMN <= args.width <= 100:
        raise UserError(f"--width: expected {COLUMN} to 100 inches, found {args.width:g}")
    check_picture(args.output)
    scores = chosen_columns(args.scores)
    if args.config:
        config = load_config(args.config)
        data = config.data
        sets = [find_set(item, data.root, args.modalities or config.model.modalities) for item in data.test]
    else:
        named = name_folders("--data", args.data)
        data, modalities = DataConfig(), args.modalities or ModelConfig().modalities
        sets = [find_set(DatasetConfig(root=str(path), name=name), "", modalities) for name, path in named.items()]
    maps = find_method_maps(name_folders("--pred", args.pred), sets, partial=True)
    if args.images:
        places = [(dataset, pair.stem) for dataset, pair in find_images(sets, args.images)]
    else:
        rule = next(rule for rule in RULES if getattr(args, rule) is not None)
        places = choose_images(maps, rule, getattr(args, rule), args.metric, args.rank_by, open_cache(None))
    samples = read_samples(sets, places, maps, metrics_of(scores))
    draw_mosaics(grid_mosaics(samples, scores, args.width, data), args.output, THEMES[args.theme], args.width)
    print(f"drawn: {args.output}")


def parse_arguments() -> Namespace:
    """The command line."""
    parser = OneLineParser(
        description="Draws all images, the truth and the maps of any methods (the paper's Fig. 7-10), scores below."
    )
    add_shared(parser, "--pred", "picture", "--metric", "--theme")
    add = parser.add
    add("--data", nargs="+", action="extend", metavar="NAME=DIR", help="a data set's folder, with RGB, T and GT in it")
    add("--config", metavar="FILE", help="or a run's config: its data.test")
    add("--modalities", nargs="+", metavar="NAME", help="images to draw; default: the config's, or a model's")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--images", nargs="+", metavar="STEM", help="these images (SET/STEM where sets share a stem)")
    for rule, where in (("worst", "where the method is worst"), ("best", "best"), ("spread", "from worst to best")):
        which.add_argument(f"--{rule}", type=int, metavar="N", help=f"N images {where}")
    add("--rank-by", metavar="NAME", help="the method that decides which these are; default: the first")
    add("--scores", nargs="*", default=["S", "MAE"], metavar="METRIC", help="what stands below a map; default: S MAE")
    add("--width", type=float, default=7.16, metavar="INCHES", help="of the picture; default: a page, 7.16")
    args = parser.parse_args()
    if bool(args.data) == bool(args.config):
        parser.error("expected either --data NAME=DIR ... or --config FILE")
    return args


if __name__ == "__main__":
    run_main(main)
