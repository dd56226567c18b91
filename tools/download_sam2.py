"""Downloads SAM2's weights: `python tools/download_sam2.py sam2.1_hiera_large.pt [--output DIR]`."""

from __future__ import annotations

from pathlib import Path

from samsod.config.command_line import OneLineParser
from samsod.utils.errors import UserError, nearest, run_main

BASE = "https://dl.fbaipublicfiles.com/segment_anything_2"
FOLDERS = {"sam2.1": "092824", "sam2": "072824"}
FILES = {
    f"{generation}_hiera_{size}.pt": f"{folder}/{generation}_hiera_{size}.pt"
    for generation, folder in FOLDERS.items()
    for size in ("tiny", "small", "base_plus", "large")
}
"""Where Meta's files lie below BASE."""


def main() -> None:
    """Downloads the named files, goes on with those that were cut off, and prints their SHA-256."""
    parser = OneLineParser(
        description=f"Downloads Meta's SAM2 weights for model.weights: {', '.join(FILES)}. A download that was cut off "
        "goes on when the same command is given again."
    )
    parser.add("names", nargs="+", metavar="NAME", help="a file's official name: sam2.1_hiera_large.pt")
    parser.add("--output", default=Path(), type=Path, metavar="DIR", help="folder of the files (default: .)")
    parser.add("--url-base", default=BASE, metavar="URL", help="a mirror with folders 092824 and 072824, not Meta's")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in FILES]
    if unknown:
        hints = (f"{name}: no file of Meta's{nearest(name, FILES)}; known: {', '.join(FILES)}" for name in unknown)
        raise UserError(*hints)
    from samsod.utils.download import download
    from samsod.utils.weights import file_digest

    for name in args.names:
        path = args.output / name
        there = path.exists()
        if not there:
            download(f"{args.url_base.rstrip('/')}/{FILES[name]}", path)
        print(f"{path}{' is there already' if there else ''}: {path.stat().st_size:,} bytes", flush=True)
        print(f"SHA-256 {file_digest(path)}", flush=True)


if __name__ == "__main__":
    run_main(main)
