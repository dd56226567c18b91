"""Predicts images or videos without masks: `python tools/predict.py --checkpoint K --rgb DIR ... --output DIR`."""

from contextlib import suppress
from pathlib import Path

from samsod.config import Config, EngineConfig
from samsod.config.command_line import (
    PREDICTOR,
    OneLineParser,
    add_shared,
    named_options,
    natural,
    positive,
    positive_number,
)
from samsod.utils.errors import UserError, run_main
from samsod.utils.files import expanded

WHERE = """Each modality of the model has an option of its name (--rgb, --thermal, ...): a folder, a list file (.txt,
one image a line), one image, a pattern (frames/%04d.png), or a video. Files pair by name without ending, those of
patterns by number, frames by index. What is finished in DIR is not predicted again; a --video is begun again."""


def parser() -> OneLineParser:
    """The options that do not depend on the checkpoint."""
    made = OneLineParser(description=__doc__.splitlines()[0].split(":")[0] + ".", epilog=WHERE, allow_abbrev=False)
    add = made.add
    add_shared(made, *PREDICTOR)
    add("--output", required=True, metavar="DIR", type=Path, help="maps go to DIR/maps/STEM.png")
    add("--masks", nargs="?", const="0.5", metavar="T", help="also masks: 0 to 1 (0.5), adaptive or otsu")
    add("--overlays", action="store_true", help="also the maps laid in red over the images")
    add("--side-by-side", action="store_true", help="also pictures of each modality, the map and the overlay in a row")
    add("--video", metavar="FILE", help="also a video, .mp4, .avi, .mkv or .webm, made when all maps are there")
    add("--video-of", choices=["overlays", "side-by-side"], help="what it shows (overlays)")
    add("--fps", type=positive_number, metavar="N", help="its frames a second; else those of the first video, or 25")
    add("--skip-bad", action="store_true", help="leave out files that cannot be used; DIR/left_out.txt")
    add("--batch-size", type=positive, metavar="N", help="images at once; else as in the training's tests")
    add("--threads", type=natural, default=2, metavar="N", help="so many read and so many write (2)")
    return made


def main() -> None:
    """Reads the checkpoint, predicts and says what was done."""
    args, rest = parser().parse_known_args()
    sources = named_options(parser(), rest)
    threshold = _threshold(args.masks)
    from samsod.engine.launch import launch
    from samsod.prediction.files import predict_files
    from samsod.prediction.film import Film, write_film
    from samsod.prediction.folder import LEFT_OUT, PredictionFolder
    from samsod.prediction.predictor import Predictor
    from samsod.prediction.scene_pictures import OVERLAYS, SIDE_BY_SIDE
    from samsod.prediction.videos import check_video
    from samsod.utils import distributed

    film = Film(expanded(args.video), (args.video_of or OVERLAYS).replace("-", "_"), args.fps) if args.video else None
    if film:
        check_video(film.path)
    elif args.video_of or args.fps:
        raise UserError("--video-of and --fps say what a video is like: add --video FILE")
    pictures = [OVERLAYS] * args.overlays + [SIDE_BY_SIDE] * args.side_by_side
    with launch(Config(imports=args.imports, engine=EngineConfig(device=args.device))) as device:
        predictor = Predictor.from_checkpoint(
            args.checkpoint, str(device), args.precision, args.weights, args.allow_missing, args.sizes
        )
        predictor.batch_size = args.batch_size or predictor.batch_size
        folder = PredictionFolder(args.output, threshold, pictures)
        done = predict_files(predictor, args.checkpoint, sources, folder, args.threads, args.skip_bad)
        is_main = distributed.is_main()
    if is_main:
        before = f", {done.there} were there before" if done.there else ""
        print(f"{done.predicted} images predicted{before}; they are in {args.output}", flush=True)
        if done.left_out:
            print(f"left out, as {args.output / LEFT_OUT} lists:", *done.left_out, sep="\n  ", flush=True)
        if film:  # after the other ranks are gone, who would wait for it in vain
            count = write_film(film, predictor, sources, folder, args.threads)
            print(f"{count} frames filmed; they are in {film.path}")


def _threshold(text: str | None) -> float | str | None:
    if text in (None, "adaptive", "otsu"):
        return text
    with suppress(ValueError):
        if 0 <= (value := float(text or "")) <= 1:
            return value
    raise UserError(f"--masks: expected a number from 0 to 1, adaptive or otsu, found {text!r}")


if __name__ == "__main__":
    run_main(main)
