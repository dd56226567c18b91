"""Exports a model for other runtimes: `python tools/export.py --checkpoint FILE --output MODEL.onnx`."""

from pathlib import Path

from samsod.config import Config, EngineConfig
from samsod.config.command_line import OneLineParser, add_shared, named_options
from samsod.utils.errors import run_main

CHECK = """Before the file gets its name it is run on images, and its maps are held to PyTorch's: on those of the
checkpoint's own data sets, or on yours: each modality has an option of its name (--rgb, --thermal, ...): a folder, a
list file (.txt) or one image. docs/export.md says what goes into the model and what comes out."""


def parser() -> OneLineParser:
    """The options that do not depend on the checkpoint."""
    made = OneLineParser(description="Exports a model for other runtimes.", epilog=CHECK, allow_abbrev=False)
    add_shared(made, "--checkpoint", "--weights", "--import")
    made.add("--output", required=True, metavar="FILE", type=Path, help=".onnx, or .pt2 as torch.export writes it")
    made.add("--modalities", nargs="+", default=[], metavar="NAME", help="those it takes (all of the model's)")
    made.add("--openvino", action="store_true", help="also hold what OpenVINO makes of it to PyTorch's maps")
    return made


def main() -> None:
    """Loads the checkpoint, exports it and says what was done."""
    args, rest = parser().parse_known_args()
    given = named_options(parser(), rest)
    from samsod.engine.checkpoint import load_checkpoint
    from samsod.engine.launch import launch
    from samsod.prediction.export.exporting import check_export, export_model
    from samsod.prediction.predictor import Predictor
    from samsod.utils.weights_folder import weights_digest

    check_export(args.output, args.openvino)
    with launch(Config(imports=args.imports, engine=EngineConfig(device="cpu"))):
        predictor = Predictor.from_checkpoint(args.checkpoint, "cpu", weights=args.weights)
        content = load_checkpoint(args.checkpoint)
        known = {key: content.get(key) for key in ("step", "versions")}
        origin = {"file": Path(args.checkpoint).name, "sha256": weights_digest(args.checkpoint), **known}
        done = export_model(predictor, args.output, origin, args.modalities, given, args.openvino)
    agreed = ", ".join(f"{runtime} within {difference:.1e}" for runtime, difference in done.differences.items())
    print(f"checked on {done.checked_on}: {agreed}")
    print(f"written: {args.output} ({done.size / 1e6:.1f} MB, {done.seconds:.0f} s)")


if __name__ == "__main__":
    run_main(main)
