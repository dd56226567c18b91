"""Draws what adapters keep: `python tools/plot_activations.py --config C --checkpoint K --images STEM --output F`."""

from pathlib import Path

from samsod.config.command_line import add_shared, config_parser, parse_config
from samsod.utils.errors import run_main


def main() -> None:
    """Runs the model on the chosen pairs and draws its adapters' high and low activations."""
    parser = config_parser("Draws high- and low-activation maps of the adapters (the paper's Fig. 5) over the images.")
    add_shared(parser, "--checkpoint", "picture", "--theme")
    parser.add("--images", nargs="+", metavar="STEM", default=[], help="pairs of data.test, by file name")
    parser.add("--pair", nargs="+", metavar="MODALITY=FILE", help="your own: rgb=a.jpg thermal=a.png")
    parser.add("--blocks", nargs="+", type=int, default=[], metavar="N", help="default: each stage's last one")
    config, args = parse_config(parser)
    if bool(args.images) == bool(args.pair):
        parser.error("expected either --images STEM ... or --pair MODALITY=FILE ...")
    given = [item.partition("=") for item in args.pair or ()]
    if args.pair and [file and name for name, _, file in given] != config.model.modalities:
        expected = " ".join(f"{name}=FILE" for name in config.model.modalities)
        parser.error(f"--pair {' '.join(args.pair)}: expected a file of each modality in order: {expected}")
    files = {name: Path(file) for name, _, file in given}
    from samsod.data.selection import scored_sets
    from samsod.drawing.activations import activation_mosaics, named_examples, read_example
    from samsod.drawing.mosaic import draw_mosaics
    from samsod.drawing.style import PAGE, THEMES, check_picture
    from samsod.engine.checkpoint import load_checkpoint
    from samsod.engine.launch import launch
    from samsod.workflows import load_model

    check_picture(args.output)
    with launch(config) as device:
        if files:
            examples = [read_example(files, config.data)]
        else:
            sets = scored_sets(config.data.test, config, "data.test").sets
            examples = named_examples(sets, args.images, config.data)
        model = load_model(config, load_checkpoint(args.checkpoint), args.checkpoint).to(device)
        mosaics = activation_mosaics(model, examples, args.blocks, config.data)
    draw_mosaics(mosaics, args.output, THEMES[args.theme], PAGE)
    print(f"drawn: {args.output}")


if __name__ == "__main__":
    run_main(main)
