"""Times a model: `python tools/bench_model.py --config FILE [--json] [--step] [--reference] [key.path=value ...]`."""

import json

from samsod.config.command_line import (
    OneLineParser,
    add_shared,
    config_parser,
    parse_config,
    positive,
    positive_number,
    positive_numbers,
    positives,
)
from samsod.utils.errors import run_main


def options() -> OneLineParser:
    """The parser; docs/benchmark.md says what each figure means."""
    parser = config_parser("Times one pair at batch 1 and says what it timed; device and precision are settings.")
    add = parser.add
    add_shared(parser, "--json")
    add("--runs", type=positive, default=50, metavar="N", help="timed runs of each (default 50)")
    add("--warmup", type=positive, default=5, metavar="N", help="forward passes before them (default 5)")
    add("--seconds", type=positive, default=3600, metavar="S", help="stop early after so long")
    add("--batch", type=positives, default=[], metavar="N,...", help="instead: images/s at these batch sizes, in turns")
    add("--floor", action="store_true", help="instead: in turns with the machine's matrix product")
    add("--step", action="store_true", help="as --floor, and a training step by part, on random images")
    add("--data", action="store_true", help="as --step, on the config's training set through its loader")
    add("--reference", action="store_true", help="as --floor, and in turns with the same network written plainly")
    add("--scaling", action="store_true", help="instead: what the reduction costs on 1 to 64 ranks, calculated")
    links = [1.25, 12.0, 25.0, 300.0]
    add("--link", type=positive_numbers, default=links, metavar="GB/S,...", help="of --scaling: speed of a rank's link")
    add("--pairs", type=positive, default=1, metavar="N", help="of --scaling: pairs of a rank (default 1)")
    add("--rate", type=positive_number, default=20.0, metavar="TFLOP/S", help="of --scaling: of a rank (default 20)")
    return parser


def main() -> None:
    """Builds the model with random weights, times it and prints the figures with its cost."""
    config, args = parse_config(options())
    from samsod.benchmarks import report
    from samsod.benchmarks.step import SteppedTrainer, synthetic_trainer
    from samsod.engine.launch import launch
    from samsod.utils import distributed
    from samsod.workflows import make_trainer

    config.model = config.model.with_base("")  # the figures do not depend on them
    with launch(config) as device:

        def trainer() -> SteppedTrainer:
            return SteppedTrainer(make_trainer(config, device)[0]) if args.data else synthetic_trainer(config, device)

        reports = []
        if args.floor or args.step or args.data or args.reference:
            steps = trainer if args.step or args.data else None
            reports.append(report.part_report(config, device, args.runs, args.seconds, steps, args.reference))
        if args.batch:
            reports.append(report.batch_report(config, device, args.batch, args.runs, args.seconds))
        if args.scaling:
            reports.append(report.scaling_report(config, args.link, args.rate, args.pairs))
        reports = reports or [report.forward_report(config, device, args.runs, args.warmup, args.seconds)]
        if distributed.is_main():
            figures = {name: value for made in reports for name, value in made.figures.items()}
            print(json.dumps(figures) if args.json else "\n\n".join(made.lines for made in reports))


if __name__ == "__main__":
    run_main(main)
