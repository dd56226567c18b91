"""Serves a page to try a model on, on this machine: `python tools/demo_page.py --checkpoint FILE`."""

import os
from pathlib import Path

from samsod.config import Config, EngineConfig
from samsod.config.command_line import PREDICTOR, OneLineParser, add_shared, positive, whole
from samsod.utils.errors import run_main

LOCAL = "127.0.0.1"


def parser() -> OneLineParser:
    """The options."""
    made = OneLineParser(description=__doc__.splitlines()[0].split(":")[0] + ".")
    add = made.add
    add_shared(made, *PREDICTOR)
    add("--examples", metavar="DIR", type=Path, help="offer pairs of this folder: one with RGB, T, ... in it")
    add("--host", default=LOCAL, help=f"where it listens ({LOCAL}: for this machine only)")
    add("--port", type=whole(0, 65535), default=8000, metavar="N", help="the port (8000); 0: any that is free")
    add("--limit", type=positive, default=32, metavar="MIB", help="how large an image may be (32)")
    return made


def main() -> None:
    """Loads the model and answers until Ctrl-C."""
    args = parser().parse_args()
    # A small file may hold a huge image. OpenCV reads this when it is imported.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")
    from samsod.engine.launch import launch
    from samsod.prediction.page.demo import Demo
    from samsod.prediction.page.server import PageServer
    from samsod.prediction.predictor import Predictor

    try:
        with launch(Config(imports=args.imports, engine=EngineConfig(device=args.device))) as device:
            predictor = Predictor.from_checkpoint(
                args.checkpoint, str(device), args.precision, args.weights, args.allow_missing, args.sizes
            )
            demo = Demo(predictor, Path(args.checkpoint).resolve().name, args.limit * 2**20, args.examples)
            with PageServer(demo, args.host, args.port) as server:
                if args.host not in (LOCAL, "localhost", "::1"):
                    print("note: whoever can reach this machine can use the page", flush=True)
                print(f"open {server.url} in a browser; Ctrl-C ends", flush=True)
                server.serve_forever()
    except KeyboardInterrupt:
        print("ended")


if __name__ == "__main__":
    run_main(main)
