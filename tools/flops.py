"""Counts parameters and multiply-adds: `python tools/flops.py --config FILE [--json] [key.path=value ...]`."""

import json

from samsod.config.command_line import add_shared, config_parser, parse_config
from samsod.utils.errors import run_main


def main() -> None:
    """Builds the model without weights, counts and prints."""
    parser = config_parser("Counts parameters and multiply-adds of one pair, by part, beside the paper's.")
    add_shared(parser, "--json")
    config, args = parse_config(parser)
    from samsod.benchmarks.cost import Unfilled, cost, cost_table, weightless
    from samsod.engine.launch import launch
    from samsod.modeling.samsod import build_model
    from samsod.utils.machine import give_freed_memory_back

    config.model = config.model.with_base("")  # the figures do not depend on them
    with launch(config):
        give_freed_memory_back()
        with Unfilled():
            model = build_model(config.model)
        figures = cost(weightless(model), config.model.image_size)
        parts = figures.pop("parts")
        print(json.dumps(figures) if args.json else cost_table(figures, parts, config.model))


if __name__ == "__main__":
    run_main(main)
