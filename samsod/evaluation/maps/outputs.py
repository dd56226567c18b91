"""The files that tools/eval_maps.py writes, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.evaluation.maps.paired import Difference, paired_csv
from samsod.evaluation.maps.per_image import per_image_csv
from samsod.evaluation.maps.results import write_results
from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.saliency import Results
from samsod.evaluation.tables.comparison import Comparison
from samsod.evaluation.tables.workbook import check_workbook, write_workbook
from samsod.utils.files import check_file_writable, write_text

PAIRED = "paired.csv"


@dataclass(frozen=True)
class Outputs:
    """Where results go; what is None is not written."""

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
        for path in (self.per_image, self.folder and self.folder / PAIRED):
            if path:
                check_file_writable(path)

    def write(
        self,
        scores: Scores,
        results: Results,
        table: Comparison,
        differences: Sequence[Difference],
        methods: Sequence[str] | None,
    ) -> None:
        """Writes them.

        Args:
            scores: Of every image.
            results: Of every data set.
            table: The same as a table.
            differences: Of two methods; may be none.
            methods: These two.

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
