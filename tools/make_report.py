"""Puts a run on one HTML page: `python tools/make_report.py RUN [--test DIR] [--output FILE]`."""

from pathlib import Path

from samsod.config.command_line import OneLineParser, positive
from samsod.utils.errors import run_main


def main() -> None:
    """Reads the run and its test and writes the page."""
    parser = OneLineParser(
        description="Writes one HTML file of a run that opens offline: results, curves, images, cost, config."
    )
    parser.add("run", metavar="RUN", type=Path, help="output folder of tools/train_net.py")
    parser.add("--test", metavar="DIR", type=Path, help="output of tools/test_net.py; default: RUN/test or RUN")
    parser.add("--output", metavar="FILE", type=Path, help="the page; default: report.html in the run")
    parser.add("--images", type=positive, default=4, metavar="N", help="N worst images, and N from worst to best")
    args = parser.parse_args()
    from samsod.drawing.run_files import open_run
    from samsod.drawing.run_report import run_report
    from samsod.evaluation.maps.results import open_cache
    from samsod.utils.files import check_file_writable, write_text

    path = args.output or args.run / "report.html"
    check_file_writable(path)
    run = open_run(args.run, args.test)
    page = run_report(run, args.images, open_cache(None))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    print(f"written: {path} ({len(page) / 2**20:.1f} MiB)")


if __name__ == "__main__":
    run_main(main)
