"""Tests a checkpoint: `python tools/test_net.py --config FILE --checkpoint FILE --output DIR [key.path=value ...]`."""

from pathlib import Path

from samsod.config.command_line import add_shared, config_parser, parse_config
from samsod.utils.errors import run_main


def main() -> None:
    """Reads the config, loads the checkpoint, writes maps and results and prints the table."""
    parser = config_parser("Scores a checkpoint on data.test; writes results.json, maps and a contact sheet.")
    add_shared(parser, "--checkpoint", "--reported")
    parser.add("--output", required=True, metavar="DIR", type=Path, help="folder of the results")
    changed = "test although this setting is another than in training and changes what is predicted; repeatable"
    parser.add("--allow-changed", action="append", default=[], metavar="KEY", help=changed)
    config, args = parse_config(parser)
    from samsod.engine.launch import launch
    from samsod.evaluation.maps.results import compare
    from samsod.evaluation.tables.reported import named_rows
    from samsod.evaluation.tables.text import results_table
    from samsod.utils import distributed
    from samsod.utils.maps import FINAL
    from samsod.workflows import test

    with launch(config) as device:
        results = test(config, device, args.checkpoint, args.output, args.reported, args.allow_changed)
        if distributed.is_main():
            print(results_table(results))
            if args.reported:
                rows = named_rows(args.reported, list(results[FINAL]))
                print(compare({"this": results[FINAL]}, reported=rows).text())
            print(f"results.json, maps and pictures are in {args.output}")


if __name__ == "__main__":
    run_main(main)
