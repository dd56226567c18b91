"""Predicts images without masks: `python tools/predict.py --checkpoint FILE --rgb DIR --thermal DIR --output DIR`."""

from pathlib import Path

from samsod.config import Config, EngineConfig
from samsod.config.command_line import OneLineParser, named_options, natural, positive
from samsod.utils.errors import UserError, run_main

WHERE = """Each modality of the model has an option of its name (--rgb, --thermal, ...): a folder, a list file (.txt,
one image a line) or one image. Files pair by name without ending. What is finished in DIR is not predicted again."""


def parser() -> OneLineParser:
    """The options that do not depend on the checkpoint."""
    made = OneLineParser(description=__doc__.splitlines()[0].split(":")[0] + ".", epilog=WHERE, allow_abbrev=False)
    made.add_argument("--checkpoint", required=True, metavar="FILE", help="a checkpoint of tools/train_net.py")
    made.add_argument("--output", required=True, metavar="DIR", type=Path, help="maps go to DIR/maps/STEM.png")
    made.add_argument("--weights", metavar="FILE", help="the SAM2 file it was trained on, if not where it was then")
    made.add_argument("--masks", nargs="?", const="0.5", metavar="T", help="also masks: 0 to 1 (0.5), adaptive or otsu")
    made.add_argument("--overlays", action="store_true", help="also the maps laid in red over the images")
    made.add_argument("--allow-missing", action="store_true", help="predict from the modalities an image has")
    made.add_argument("--sizes", choices=["equal", "any"], help="any: images of a scene may differ in size")
    made.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be used; DIR/left_out.txt")
    made.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: a GPU when there is one")
    made.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="the network's (fp32)")
    made.add_argument(
        "--batch-size", type=positive, metavar="N", help="images at once; else as in the training's tests"
    )
    made.add_argument("--threads", type=natural, default=2, metavar="N", help="so many read and so many write (2)")
    made.add_argument("--import", action="append", default=[], dest="imports", metavar="FILE", help="parts of your own")
    return made


def main() -> None:
    """Reads the checkpoint, predicts and says what was done."""
    args, rest = parser().parse_known_args()
    sources = named_options(parser(), rest)
    threshold = _threshold(args.masks)
    from samsod.engine.launch import launch
    from samsod.prediction.files import predict_files
    from samsod.prediction.folder import LEFT_OUT, PredictionFolder
    from samsod.prediction.predictor import Predictor
    from samsod.utils import distributed

    with launch(Config(imports=args.imports, engine=EngineConfig(device=args.device))) as device:
        predictor = Predictor.from_checkpoint(
            args.checkpoint, str(device), args.precision, args.weights, args.allow_missing, args.sizes
        )
        predictor.batch_size = args.batch_size or predictor.batch_size
        folder = PredictionFolder(args.output, threshold, args.overlays)
        done = predict_files(predictor, args.checkpoint, sources, folder, args.threads, args.skip_bad)
        if distributed.is_main():
            before = f", {done.there} were there before" if done.there else ""
            print(f"{done.predicted} images predicted{before}; they are in {args.output}")
            if done.left_out:
                print(f"left out, as {args.output / LEFT_OUT} lists:", *done.left_out, sep="\n  ")


def _threshold(text: str | None) -> float | str | None:
    if text in (None, "adaptive", "otsu"):
        return text
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserError(f"--masks: expected a number from 0 to 1, adaptive or otsu, found {text!r}")
    return value


if __name__ == "__main__":
    run_main(main)
