"""Draws what cameras out of register cost: `python tools/plot_shift.py --config C --checkpoint K --output FILE`."""

from samsod.config.command_line import add_shared, config_parser, naturals, parse_config
from samsod.utils.errors import run_main


def main() -> None:
    """Scores the model with the images of all modalities but the reference moved, prints the scores and draws them."""
    parser = config_parser(
        "Scores a checkpoint on data.test with the images of all modalities but the reference moved by so many pixels, "
        "to the right, left, down and up in turn; prints the means of the four and draws them."
    )
    add_shared(parser, "--checkpoint", "picture", "--metric", "--theme")
    distances = [0, 2, 4, 8, 12, 16]
    parser.add("--pixels", type=naturals, default=distances, metavar="N,N", help="how far (0,2,4,8,12,16)")
    config, args = parse_config(parser)
    from samsod.data.selection import scored_sets
    from samsod.drawing.runs import draw_panels, shift_panels
    from samsod.drawing.style import THEMES, check_picture
    from samsod.engine.checkpoint import load_checkpoint
    from samsod.engine.launch import launch
    from samsod.evaluation.metrics.choice import chosen_columns
    from samsod.evaluation.settings import check_settings
    from samsod.evaluation.shifts import shift_scores
    from samsod.evaluation.tables.text import text_table
    from samsod.utils import distributed
    from samsod.workflows import load_model

    (metric,) = chosen_columns([args.metric])
    check_picture(args.output)
    with launch(config) as device:
        content = load_checkpoint(args.checkpoint)
        check_settings(content, config, (), args.checkpoint)
        sets = scored_sets(config.data.test, config, "data.test", config.tested_modalities()).sets
        model = load_model(config, content, args.checkpoint).to(device)
        scores = shift_scores(model, sets, config, args.pixels, metric)
        if distributed.is_main():
            heading = ["set", "map", *(f"{metric} at {distance}" for distance in args.pixels)]
            lines = [(name, kind, values) for name, maps in scores.items() for kind, values in maps.items()]
            print(text_table(heading, [[*names, *(f"{value:.3f}" for value in values)] for *names, values in lines], 2))
            draw_panels(shift_panels(scores, args.pixels, metric), args.output, THEMES[args.theme])
            print(f"drawn: {args.output}")


if __name__ == "__main__":
    run_main(main)
