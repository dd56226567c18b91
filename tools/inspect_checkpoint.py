"""Prints what a checkpoint is, or writes it to be shared: `python tools/inspect_checkpoint.py FILE [--export DIR]`."""

from __future__ import annotations

import json
from pathlib import Path

from samsod.config.command_line import OneLineParser, add_shared
from samsod.utils.errors import run_main


def main() -> None:
    """Reads the checkpoint, runs nothing in it, and prints, or writes the folder."""
    parser = OneLineParser(
        description="Prints what a checkpoint is: model, modalities, preprocessing, data sets, best score, versions, "
        "and the file its encoder comes from; or writes it as the Hugging Face Hub has it. No code in the file is run."
    )
    add = parser.add
    add("checkpoint", metavar="FILE", help="a checkpoint of tools/train_net.py, or a folder of --export")
    add_shared(parser, "--json", "--import")
    add("--export", metavar="DIR", type=Path, help="write config.json, model.safetensors and README.md")
    add("--with-encoder", action="store_true", help="export an encoder that the file does not hold too")
    add("--weights", default="", metavar="FILE", help="the encoder's, if not where it was in training")
    add("--tested", default="", metavar="DIR", help="put scores in the README.md, of tools/test_net.py")
    args = parser.parse_args()
    if args.export is None and (args.with_encoder or args.tested):
        parser.error("--with-encoder and --tested are for --export")
    if args.weights and not args.with_encoder:
        parser.error("--weights is for --with-encoder")
    if args.export is not None:
        from samsod.registry import import_user_modules
        from samsod.workflows import share

        import_user_modules(args.imports)
        share(args.checkpoint, args.export, args.with_encoder, args.weights, args.tested)
        print(f"written: {args.export}; samsod.Predictor.from_checkpoint reads it")
        return
    from samsod.engine.checkpoint import load_checkpoint
    from samsod.evaluation.inspection import as_text, describe

    description = describe(load_checkpoint(args.checkpoint), args.checkpoint)
    print(json.dumps(description, indent=1) if args.json else as_text(description))


if __name__ == "__main__":
    run_main(main)
