"""Measures reading and augmenting beside Pillow: `python tools/bench_data.py [--root DIR] [--sizes N ...]`."""

import tempfile
from pathlib import Path

from samsod.config import ModelConfig
from samsod.config.command_line import OneLineParser
from samsod.utils.errors import UserError, run_main


def main() -> None:
    """Finds or generates pairs, enlarges them, measures and prints."""
    parser = OneLineParser(
        description="Measures how fast pairs are read, augmented, resized and normalised, beside a plain Pillow "
        "pipeline: at their own size and enlarged to 1280x960; in one process, then through loader processes."
    )
    parser.add_argument("--root", metavar="DIR", help="folder with RGB, T and GT; default: generated scenes")
    parser.add_argument("--split", default="", choices=("train", "test"), help="part of --root, if it has parts")
    parser.add_argument(
        "--modalities", nargs="+", default=ModelConfig().modalities, metavar="NAME", help="images of --root"
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 352, 128], metavar="N", help="target sizes")
    parser.add_argument("--pairs", type=int, default=24, metavar="N", help="how many pairs, evenly chosen")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each is taken")
    parser.add_argument("--workers", nargs="*", type=int, default=[0, 1, 2], metavar="N", help="loader processes")
    args = parser.parse_args()
    if min(args.pairs, args.rounds, *args.sizes) < 1 or min(args.workers, default=0) < 0:
        raise UserError("--pairs, --rounds and --sizes: expected at least 1; --workers: 0 or more")
    from samsod.benchmarks.data import enlarge, import_pillow, make_scenes, run
    from samsod.config.data_schema import DatasetConfig
    from samsod.data.sources.catalog import find_set

    import_pillow()  # before anything is made
    with tempfile.TemporaryDirectory() as folder:
        if args.root:
            found = find_set(DatasetConfig(root=args.root, split=args.split), "", args.modalities).pairs
            count = min(args.pairs, len(found))
            pairs = [found[i * len(found) // count] for i in range(count)]
        else:
            pairs = make_scenes(Path(folder) / "scenes", args.pairs)
        sets = {"as they are": pairs, "1280x960": enlarge(pairs, Path(folder) / "large")}
        print(run(sets, args.sizes, args.rounds, args.workers))


if __name__ == "__main__":
    run_main(main)
