"""What comes of scored maps: figures by method and data set, and the files they are written to."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.saliency import SaliencyMetrics, overall
from samsod.evaluation.tables.comparison import Comparison, Row
from samsod.evaluation.tables.reported import beside_reported
from samsod.utils.errors import UserError
from samsod.utils.files import cache_folder, write_text

OVERALL = "Overall"
"""What the mean over several data sets is called, weighted by their numbers of images."""

Results = dict[str, dict[str, dict[str, float]]]
"""Method -> data set -> metric."""


def name_folders(option: str, given: Sequence[str]) -> dict[str, Path]:
    """Folders by name from `NAME=DIR`, or `DIR` alone, which is called as its folder.

    Args:
        option: What the command line calls them, for messages.
        given: What was given; a folder whose own name holds a "=" may be given alone.

    Raises:
        UserError: A name is empty, taken or reserved; one line for each.
    """
    folders: dict[str, Path] = {}
    faults = []
    for text in given:
        name, separator, place = text.partition("=")
        if not separator or Path(text).is_dir():
            name, place = Path(text).resolve().name, text
        if not name or not place:
            faults.append(f"{option} {text}: expected NAME=DIR or DIR")
        elif name == OVERALL:
            faults.append(f"{option} {text}: the name {OVERALL} is taken by the mean over the data sets")
        elif name in folders:
            faults.append(
                f"{option} {text}: {name} is {folders[name]} already; give each a name: {option} NAME={place}"
            )
        else:
            folders[name] = Path(place)
    if faults:
        raise UserError(*faults)
    return folders


def open_cache(folder: Path | None) -> ScoreCache | None:
    """The cache in a folder, or in the user's cache folder; None, and a word on it, where the latter is no good.

    Raises:
        UserError: The given folder cannot be written to.
    """
    if folder is not None:
        return ScoreCache(folder)
    try:
        return ScoreCache(cache_folder() / "scores")
    except UserError as error:
        print(f"scores are not kept: {error}", file=sys.stderr)
        return None


def summarise(scores: Scores) -> Results:
    """The figures of every method on every data set, and their count-weighted mean when there are several sets."""
    results: Results = {}
    for method, by_set in scores.items():
        for dataset, images in by_set.items():
            metrics = SaliencyMetrics()
            metrics.extend(images.values())
            results.setdefault(method, {})[dataset] = metrics.result()
        if len(by_set) > 1:
            results[method][OVERALL] = overall(results[method])
    return results


def compare(
    results: Mapping[str, Mapping[str, Mapping[str, float]]], digits: int = 4, reported: Sequence[str] = ()
) -> Comparison:
    """The table of all methods.

    Args:
        results: Method -> data set -> metric.
        digits: Digits after the point.
        reported: Rows of the paper to show beside; see `beside_reported`.
    """
    measured = [Row(method, by_set) for method, by_set in results.items()]
    return Comparison(beside_reported(measured, reported), digits=digits)


def write_results(folder: Path, results: Results, table: Comparison) -> None:
    """Writes results.json, results.csv (all digits), results.md and results.tex, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "results.json", as_json(results))
    write_text(folder / "results.csv", table.csv())
    write_text(folder / "results.md", table.markdown() + "\n")
    write_text(folder / "results.tex", table.latex() + "\n")


def as_json(results: Results) -> str:
    """One JSON object: method -> data set -> metric."""
    return json.dumps(results, indent=1, ensure_ascii=False) + "\n"
