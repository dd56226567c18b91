"""Converts the authors' checkpoint: `python tools/convert_checkpoint.py --released sam_rgbt.pth --output K.pt`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from samsod.config.command_line import config_parser, parse_config
from samsod.utils.errors import run_main

RELEASED = Path(__file__).parents[1] / "configs" / "released.yaml"


def main() -> None:
    """Loads the released tensors into the model of configs/released.yaml and saves it as a checkpoint of ours."""
    said = "Turns the checkpoint that SAMSOD's authors released into one that test_net and Predictor read."
    parser = config_parser(said, RELEASED)
    parser.add("--released", required=True, metavar="FILE", type=Path, help="the authors' file, sam_rgbt.pth")
    parser.add("--output", required=True, metavar="FILE", type=Path, help="the checkpoint to write")
    config, args = parse_config(parser)
    from samsod.engine.checkpoint import model_state, save_checkpoint
    from samsod.engine.launch import launch
    from samsod.modeling.released import load_released
    from samsod.modeling.samsod import build_model
    from samsod.utils.files import check_file_writable
    from samsod.utils.weights import file_digest

    config.model = config.model.with_base("")  # the file has the encoder too
    check_file_writable(args.output)
    with launch(config):
        model = build_model(config.model)
        said = load_released(model, args.released)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        released = {"file": args.released.name, "sha256": file_digest(args.released)}
        state = {"model": model_state(model), "base": None, "released": released, "step": 0}
        save_checkpoint(args.output, {**state, "config": asdict(config)})
        print(f"{said}\nwritten: {args.output}")


if __name__ == "__main__":
    run_main(main)
