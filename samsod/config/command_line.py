"""The command line that every tool shares."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from samsod.config import Config, load_config, to_yaml
from samsod.utils.errors import EXIT_USER_ERROR, shown

T = TypeVar("T")
LONGEST = 10
"""Digits of a whole number on the command line."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr and exit code 2."""

    add = argparse.ArgumentParser.add_argument

    def error(self, message: str) -> NoReturn:
        """Prints one line and exits with 2."""
        print(f"error: {shown(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """What an argument must be: a whole number, and how large."""

    def read(text: str) -> int:
        if text.isdecimal() and len(text) <= LONGEST and least <= int(text) <= (int(text) if most is None else most):
            return int(text)
        bounds = f"at least {least} and {LONGEST} digits at most" if most is None else f"{least} to {most}"
        raise argparse.ArgumentTypeError(f"expected a whole number of {bounds}, found {text!r}")

    return read


natural, positive = whole(0), whole(1)


def names(text: str) -> list[str]:
    """An argument that must be names, separated by commas."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("expected names, separated by commas")
    return found


def positive_number(text: str) -> float:
    """An argument that must be a number above 0."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")


def several(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """An argument that must be some of a kind, separated by commas; each counts once."""
    return lambda text: list(dict.fromkeys(map(kind, text.split(","))))


naturals, positives, positive_numbers = several(natural), several(positive), several(positive_number)


def add_shared(parser: argparse.ArgumentParser, *wanted: str) -> None:
    """Adds options that several tools have, so that they are called, read and explained alike.

    Args:
        parser: The tool's parser.
        wanted: Which; `picture` stands for the --output of a tool that draws.
    """
    left = {*wanted}

    def add(option: str, called: str = "", **how: Any) -> None:
        if option in left:
            left.remove(option)
            parser.add_argument(called or option, **how)

    add("--checkpoint", required=True, metavar="FILE", help="of tools/train_net.py, or a shared folder")
    add("--weights", metavar="FILE", help="the file its encoder comes from, if not where it was in training")
    add("--allow-missing", action="store_true", help="predict from the modalities that are given")
    add("--sizes", choices=["equal", "any"], help="must the images of a scene have one size? as trained")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: a GPU when there is one")
    add("--precision", default="fp32", choices=["fp32", "bf16", "fp16"], help="the network's (fp32)")
    add("--import", action="append", default=[], dest="imports", metavar="FILE", help="parts of your own")
    add("--pred", nargs="+", action="extend", required=True, metavar="NAME=DIR", help="a method's saliency maps")
    add("--metric", default="S", help="the score it goes by (S, maxF, MAE, ...)")
    reported = "also print what the paper reports of a method in Table I, or elsewhere: table3:METHOD; repeatable"
    add("--reported", action="append", default=[], metavar="METHOD", help=reported)
    add("--json", action="store_true", help="print JSON alone")
    picture = "the picture: .png, .pdf or .svg"
    add("picture", "--output", required=True, metavar="FILE", type=Path, help=picture)
    add("--theme", default="light", choices=("light", "dark"), help="colours of the picture")
    assert not left, left


PREDICTOR = ("--checkpoint", "--weights", "--allow-missing", "--sizes", "--device", "--precision", "--import")
"""Of the tools that predict: a checkpoint, and how it is used; see `Predictor.from_checkpoint`."""


def named_options(parser: argparse.ArgumentParser, rest: list[str]) -> dict[str, str]:
    """Options `--NAME VALUE` whose names the parser cannot know: what its `parse_known_args` left over."""
    options: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        value = value if equals else next(words, "")
        if not word.startswith("--") or not name or not value or (not equals and value.startswith("--")):
            hint = f"; did you mean --{name} {value}?" if equals and name and value else ""
            parser.error(f"expected options of the form --NAME VALUE, found {word}{hint}")
        if name in options:
            parser.error(f"--{name} is there twice")
        options[name] = value
    return options


def config_parser(description: str, default: Path | None = None) -> OneLineParser:
    """The parser every tool shares: `--config FILE [key.path=value ...] [--print-config]`; `default` is the file."""
    parser = OneLineParser(description=description)
    named = f"a YAML file (default: {default.name})" if default else "a YAML file, e.g. configs/large.yaml"
    parser.add_argument("--config", required=default is None, default=default, metavar="FILE", help=named)
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings laid over the file's")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config, explained, and stop")
    return parser


def parse_config(parser: argparse.ArgumentParser) -> tuple[Config, argparse.Namespace]:
    """Parses the command line; with `--print-config` prints the resolved config and exits with 0."""
    args = parser.parse_intermixed_args()
    config = load_config(args.config, args.overrides)
    if args.print_config:
        print(to_yaml(config, docs=True), end="")
        sys.exit(0)
    return config, args
