"""Measures reading and augmenting beside Pillow: `python tools/bench_data.py [--root DIR] [--sizes N ...]`."""

import tempfile
from pathlib import Path

from samsod.config import ModelConfig
from samsod.config.command_line import OneLineParser, natural, positive
from samsod.utils.errors import run_main


def main() -> None:
    """Finds or generates pairs, enlarges them, measures and prints."""
    parser = OneLineParser(
        description="Measures how fast pairs are read, augmented, resized and normalised, beside a plain Pillow "
        "pipeline: at their own size and enlarged to 1280x960; in one process, then through loader processes."
    )
    parser.add("--root", metavar="DIR", help="folder with RGB, T and GT; default: generated scenes")
    parser.add("--split", default="", choices=("train", "test"), help="part of --root, if it has parts")
    parser.add("--modalities", nargs="+", default=ModelConfig().modalities, metavar="NAME", help="images of --root")
    parser.add("--sizes", nargs="+", type=positive, default=[512, 352, 128], metavar="N", help="target sizes")
    parser.add("--pairs", type=positive, default=24, metavar="N", help="how many pairs, evenly chosen")
    parser.add("--rounds", type=positive, default=3, metavar="N", help="how often each is taken")
    parser.add("--workers", nargs="*", type=natural, default=[0, 1, 2], metavar="N", help="loader processes")
    args = parser.parse_args()
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
