"""Draws what adapters keep: `python tools/plot_activations.py --config C --checkpoint K --images STEM --output F`."""

from pathlib import Path

from samsod.config.command_line import config_parser, parse_config
from samsod.utils.errors import run_main


def main() -> None:
    """Runs the model on the chosen pairs and draws its adapters' high and low activations."""
    parser = config_parser("Draws high- and low-activation maps of the adapters (the paper's Fig. 5) over the images.")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="a checkpoint of tools/train_net.py")
    parser.add_argument("--output", required=True, metavar="FILE", type=Path, help="the picture: .png, .pdf or .svg")
    parser.add_argument("--images", nargs="+", metavar="STEM", default=[], help="pairs of data.test, by file name")
    parser.add_argument("--rgb", metavar="FILE", type=Path, help="an RGB image of your own instead")
    parser.add_argument("--thermal", metavar="FILE", type=Path, help="and its thermal image")
    parser.add_argument("--blocks", nargs="+", type=int, default=[], metavar="N", help="default: each stage's last one")
    parser.add_argument("--theme", default="light", choices=("light", "dark"), help="colours of the picture")
    config, args = parse_config(parser)
    if bool(args.images) == bool(args.rgb):
        parser.error("expected either --images STEM ... or --rgb FILE --thermal FILE")
    from samsod.data.selection import scored_sets
    from samsod.drawing.activations import activation_mosaics, named_pairs, read_pair
    from samsod.drawing.mosaic import draw_mosaics
    from samsod.drawing.style import PAGE, THEMES, check_picture
    from samsod.engine.checkpoint import load_checkpoint
    from samsod.engine.launch import launch
    from samsod.workflows import load_model

    check_picture(args.output)
    with launch(config) as device:
        if args.rgb:
            pairs = [read_pair(args.rgb, args.thermal, config.data)]
        else:
            sets = scored_sets(config.data.test, config, "data.test").sets
            pairs = named_pairs(sets, args.images, config.data)
        model = load_model(config, load_checkpoint(args.checkpoint), args.checkpoint).to(device)
        mosaics = activation_mosaics(model, pairs, args.blocks, config.data)
    draw_mosaics(mosaics, args.output, THEMES[args.theme], PAGE)
    print(f"drawn: {args.output}")


if __name__ == "__main__":
    run_main(main)
