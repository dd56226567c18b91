"""A comparison as an .xlsx workbook, through openpyxl."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from samsod.evaluation.tables.comparison import Comparison
from samsod.evaluation.tables.text import with_arrow
from samsod.utils.errors import UserError, check_installed
from samsod.utils.files import check_file_writable, written_whole

_ILLEGAL = re.compile(r"[\000-\010\013\014\016-\037\ud800-\udfff\ufffe\uffff]")


def check_workbook(path: Path) -> None:
    """Finds before the work what would keep a workbook from being written.

    Raises:
        UserError: openpyxl is missing, the name does not end in .xlsx, or the file cannot be written.
    """
    check_installed("an .xlsx file", "'samsod[xlsx]'", "openpyxl")
    if path.suffix.lower() != ".xlsx":
        raise UserError(f"{path}: expected a name that ends in .xlsx")
    check_file_writable(path)


def write_workbook(path: Path, table: Comparison) -> None:
    """Writes one sheet, a line for each method: data sets over their metrics, best bold, second best underlined.

    Cells hold all digits and show those of the table; what a method lacks stays empty. The file is whole or absent.

    Raises:
        OSError: It cannot be written.
    """
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font

    book = Workbook()
    sheet = book.active
    sheet.title = "results"
    sheet.freeze_panes = "B3"
    bold = Font(bold=True)
    fonts = (None, bold, Font(underline="single"), None)
    sheet.cell(2, 1, "method").font = bold
    for line, row in enumerate(table.rows, 3):
        sheet.cell(line, 1, _text(f"{row.method} (reported)" if row.reported else row.method))
    metrics = table.columns()
    for block, dataset in enumerate(table.datasets()):
        first = 2 + block * len(metrics)
        heading = sheet.cell(1, first, _text(dataset))
        heading.font, heading.alignment = bold, Alignment(horizontal="center")
        sheet.merge_cells(start_row=1, end_row=1, start_column=first, end_column=first + len(metrics) - 1)
        for column, metric in enumerate(metrics, first):
            sheet.cell(2, column, with_arrow(metric)).font = bold
            places = [place for _, place in table.placed(dataset, metric)]
            for line, (row, place) in enumerate(zip(table.rows, places, strict=True), 3):
                _fill(sheet.cell(line, column), row.scores.get(dataset, {}).get(metric), table.digits, fonts[place])
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        book.save(partial)


def _fill(cell: Any, value: float | None, digits: int, font: Any) -> None:
    if value is not None and value == value:  # a nan stays empty
        cell.value, cell.number_format = value, f"0.{'0' * digits}"
        if font:
            cell.font = font


def _text(name: str) -> str:
    """A name that XML can hold and that no spreadsheet takes for a formula."""
    text = _ILLEGAL.sub("?", name)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
