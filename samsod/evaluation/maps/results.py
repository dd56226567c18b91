"""What comes of scored maps: metrics by method and data set, and the files they are written to."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.config.data_schema import OVERALL
from samsod.evaluation.maps.paired import Difference, paired_csv
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.choice import ImageScores, columns_of
from samsod.evaluation.metrics.saliency import Results, SaliencyMetrics, with_overall
from samsod.evaluation.tables.comparison import Comparison, Row
from samsod.evaluation.tables.reported import beside_reported
from samsod.evaluation.tables.text import csv_text
from samsod.evaluation.tables.workbook import check_workbook, write_workbook
from samsod.utils.errors import UserError, shown
from samsod.utils.files import cache_folder, check_file_writable, write_text

KINDS = ("json", "csv", "md", "tex")
"""The endings of the files that results are written to."""
PAIRED = "paired.csv"


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
        name = shown(name)
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


def summarise(scores: Scores, *parts: Scores) -> Results:
    """The metrics of every method on every data set, and their count-weighted mean when there are several sets.

    Parts of them, as if they were data sets, come after the mean and are not in it.
    """
    results = {method: with_overall(_by_set(by_set)) for method, by_set in scores.items()}
    for part in parts:
        for method, by_set in part.items():
            results[method] |= _by_set(by_set)
    return results


def _by_set(scores: Mapping[str, Mapping[str, ImageScores]]) -> dict[str, dict[str, float]]:
    return {dataset: SaliencyMetrics(images=images.values()).result() for dataset, images in scores.items()}


def compare(
    results: Results, digits: int = 4, reported: Sequence[Row] = (), columns: Sequence[str] | None = None
) -> Comparison:
    """The table of all methods, and beside them rows of the paper (of `named_rows`); of all columns, or those named."""
    measured = [Row(method, by_set) for method, by_set in results.items()]
    return Comparison(beside_reported(measured, reported), columns, digits)


def write_results(folder: Path, results: Results, table: Comparison, colours: bool = False) -> None:
    """Writes the results as results.json, their table as .csv (all digits), .md and .tex, each whole or not at all.

    With `colours` LaTeX colours the best three, see `Comparison.latex`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = (as_json(results), table.csv(), table.markdown() + "\n", table.latex(colours) + "\n")
    for kind, text in zip(KINDS, texts, strict=True):
        write_text(folder / f"results.{kind}", text)


def per_image_csv(scores: Scores) -> str:
    """A line for each method, data set and image, with all digits of all columns.

    Of a curve its own maximum counts: the mean of these is mostly above a table's maximum, that of the mean curve.
    """
    lines: list[list[object]] = []
    for method, by_set in scores.items():
        for dataset, images in by_set.items():
            for stem, image in images.items():
                columns = columns_of(image)
                lines = lines or [["method", "set", "image", *columns]]
                lines.append([method, dataset, stem, *map(float, columns.values())])
    return csv_text(lines)


def as_json(results: Results) -> str:
    """One JSON object: method -> data set -> metric."""
    return json.dumps(results, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Outputs:
    """The files that tools/eval_maps.py writes, each whole or not at all; what is None is not written."""

    folder: Path | None
    workbook: Path | None
    per_image: Path | None
    colours: bool
    """Whether LaTeX colours the best three."""

    def check(self) -> None:
        """Finds before the work what would keep a file from being written.

        Raises:
            UserError: A file or folder is in the way, or the workbook's library is missing.
        """
        if self.workbook:
            check_workbook(self.workbook)
        paths = [self.per_image] if self.per_image else []
        if self.folder:
            paths += [self.folder / PAIRED, *(self.folder / f"results.{kind}" for kind in KINDS)]
        for path in paths:
            check_file_writable(path)

    def write(
        self,
        scores: Scores,
        results: Results,
        table: Comparison,
        differences: Sequence[Difference],
        methods: Sequence[str] | None,
    ) -> None:
        """Writes the scores of every image, the results of every set, and the differences of two methods, if any.

        Raises:
            OSError: One cannot be written; the error names it.
        """
        if self.folder:
            write_results(self.folder, results, table, self.colours)
            if methods:
                write_text(self.folder / PAIRED, paired_csv(differences, methods))
        if self.workbook:
            write_workbook(self.workbook, table)
        if self.per_image:
            self.per_image.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.per_image, per_image_csv(scores))
