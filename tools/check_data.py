"""Checks data sets: `python tools/check_data.py --root DIR [--set NAME] [--folder NAME=FOLDER] [--json]`."""

import json
from pathlib import Path

from samsod.config.command_line import OneLineParser, add_shared, natural
from samsod.utils.errors import UserError, run_main

DESCRIPTION = """Finds the data sets in a folder, reads every file and prints a table.

Faults make a set unusable, and the tool exits with 2 and one line for each: a folder or a partner that is missing, a
file that cannot be read or is damaged, a mask that is none, images of a pair that differ in size. (data.skip_bad=true
trains and tests without such pairs; --sizes any, as data.sizes=any, takes pairs that differ in size, but for a mask
and its reference.) Notes do not: another number of pairs than published, a part that is not there, RGB images that are
there twice or in a training and a test set (all decoded pixels the same, by SHA-256), images of a modality that differ
in kind, files with an orientation tag (none is obeyed), empty masks, foreground strokes outside the labelled region,
folders that cannot be listed."""


def main() -> None:
    """Looks for sets, reads them, prints what it found and fails when there is a fault."""
    import argparse

    parser = OneLineParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add("--root", required=True, metavar="DIR", type=Path, help="folder of the data sets, or one set's")
    parser.add("--set", default="", metavar="NAME", help="the one family to look for, e.g. vt5000 or folders")
    folder = "the folder of a modality's images, e.g. thermal=infra or polar=P; of others the usual names are tried"
    parser.add("--folder", nargs="+", action="extend", default=[], metavar="NAME=FOLDER", help=folder)
    parser.add("--sizes", default="equal", choices=["equal", "any"], help="must the images of a pair have one size?")
    add_shared(parser, "--json")
    parser.add("--processes", type=natural, default=0, metavar="N", help="processes that read; 0: all cores")
    args = parser.parse_args()
    from samsod.config.data_schema import DataConfig
    from samsod.data.checking.check import check_set
    from samsod.data.checking.report import as_json, faults_of, notes_of, table
    from samsod.data.sources.recognise import recognise
    from samsod.evaluation.tables.text import text_table
    from samsod.utils.progress import progress

    named = [item.partition("=") for item in args.folder]
    if wrong := [name for name, _, folder in named if not (name and folder)]:
        raise UserError(f"--folder {wrong[0]}: expected NAME=FOLDER")
    found = recognise(args.root, args.set, {name: folder for name, _, folder in named})
    checked = [check_set(one, DataConfig(sizes=args.sizes), args.processes, progress) for one in found.sets]
    if args.json:
        print(json.dumps(as_json(found, checked), indent=1))
    else:
        print(text_table(*table(checked), left=2))
        for note in notes_of(found, checked):
            print(f"note: {note}")
    faults = faults_of(found, checked)
    if faults:
        raise UserError(*faults)


if __name__ == "__main__":
    run_main(main)
