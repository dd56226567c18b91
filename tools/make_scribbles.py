"""Makes scribbles from full masks: `python tools/make_scribbles.py --gt DIR --output DIR [--seed N] [--width PX]`."""

from __future__ import annotations

from pathlib import Path

from samsod.config import ModelConfig
from samsod.config.command_line import OneLineParser, natural, positive
from samsod.utils.errors import run_main


def main() -> None:
    """Writes two folders of strokes and a picture of some, and prints what a config says of them."""
    parser = OneLineParser(description="Draws thin strokes on object and background of full masks, as a person would.")
    add, shared = parser.add, ModelConfig().modalities
    add("--gt", required=True, metavar="DIR", type=Path, help="folder of masks")
    add("--output", required=True, metavar="DIR", type=Path, help="gets foreground/ and labelled/")
    add("--seed", default=0, type=natural, metavar="N", help="another seed, other strokes (default 0)")
    add("--width", type=positive, metavar="PX", help="of the strokes (a hundredth of the image's shorter side)")
    add("--modalities", nargs="+", default=shared, metavar="NAME", help="of the images beside the masks")
    args = parser.parse_args()
    from samsod.data.synthetic import scribbles

    masks = scribbles.find_masks(args.gt)
    from samsod.data.pictures import write_png
    from samsod.evaluation.contact_sheet import contact_sheet
    from samsod.utils.progress import progress

    shown = progress(masks, len(masks), "scribbling")
    foreground, labelled = scribbles.make_scribbles(shown, args.output, args.seed, args.width)
    config, pairs = scribbles.as_config(args.gt, args.output, args.modalities)
    rows = [(path.stem, scribbles.overlays(path, args.output, pairs)) for path in masks[:: -(-len(masks) // 12)]]
    write_png(args.output / "scribbles.png", contact_sheet(rows, ("image", "truth")))
    print(f"{len(masks)} masks: {labelled:.2%} of the pixels labelled, {foreground:.2%} foreground")
    print(f"drawn: {args.output / 'scribbles.png'}")
    model = f"model: {{modalities: [{', '.join(args.modalities)}]}}"
    print(f"in a config:\n  {model}\n  loss: {{name: scribble}}\n  data: {{holdout: 0, train: [{config}]}}")


if __name__ == "__main__":
    run_main(main)
