"""Prints what a checkpoint is: `python tools/inspect_checkpoint.py FILE [--json]`."""

from __future__ import annotations

import json

from samsod.config.command_line import OneLineParser
from samsod.utils.errors import run_main


def main() -> None:
    """Reads the checkpoint, runs nothing in it, and prints."""
    parser = OneLineParser(
        description="Prints what a checkpoint is: model, modalities, preprocessing, data sets, best score, versions, "
        "and the SAM2 file under it. No code in the file is run."
    )
    parser.add_argument("checkpoint", metavar="FILE", help="a checkpoint of tools/train_net.py")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    args = parser.parse_args()
    from samsod.engine.checkpoint import load_checkpoint
    from samsod.evaluation.inspection import as_text, describe

    description = describe(load_checkpoint(args.checkpoint), args.checkpoint)
    print(json.dumps(description, indent=1) if args.json else as_text(description))


if __name__ == "__main__":
    run_main(main)
