"""Trains a model: `python tools/train_net.py --config FILE [key.path=value ...]`, or the same under torchrun."""

from samsod.config.command_line import config_parser, parse_config
from samsod.utils.errors import run_main


def main() -> None:
    """Reads the config, prepares this rank and trains."""
    config, _ = parse_config(config_parser("Trains a model; resumes when the output folder holds a checkpoint."))
    from samsod.engine.launch import launch
    from samsod.workflows import train

    with launch(config) as device:
        train(config, device)


if __name__ == "__main__":
    run_main(main)
