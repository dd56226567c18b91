"""Times a model: `python tools/bench_model.py --config FILE [--json] [--runs N] [key.path=value ...]`."""

import json
from dataclasses import asdict

from samsod.config.command_line import config_parser, parse_config, positive
from samsod.utils.errors import run_main


def main() -> None:
    """Builds the model with random weights, times it and prints the figures with its cost."""
    parser = config_parser("Times one pair at batch 1 and says what it timed; device and precision are settings.")
    parser.add_argument("--runs", type=positive, default=50, metavar="N", help="timed forward passes (default 50)")
    parser.add_argument("--warmup", type=positive, default=5, metavar="N", help="passes before them (default 5)")
    parser.add_argument("--seconds", type=positive, default=3600, metavar="S", help="stop early after so long")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    config, args = parse_config(parser)
    from samsod.benchmarks.cost import cost
    from samsod.benchmarks.model import TIMED, time_model, timing_lines
    from samsod.engine.launch import launch
    from samsod.modeling.samsod import build_model

    config.model.weights = ""  # the figures do not depend on them
    with launch(config) as device:
        model = build_model(config.model).to(device)
        size, precision = config.model.image_size, config.engine.precision
        timing = time_model(model, size, precision, args.runs, args.warmup, args.seconds)
        figures = cost(model, size)
        if args.json:
            figures.pop("parts")
            print(json.dumps({**asdict(timing), **figures, "timed": TIMED}))
        else:
            params, macs = figures["params"] / 1e6, figures["macs_fvcore"] / 1e9
            print(f"{params:.3f} M parameters, {macs:.2f} GMAC\n{timing_lines(timing)}")


if __name__ == "__main__":
    run_main(main)
