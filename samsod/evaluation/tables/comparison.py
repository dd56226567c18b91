"""One kind of table for every comparison: methods against data sets and metrics, as text, Markdown, LaTeX or CSV.

The best value of a column is marked (`*`, bold) and the second best (`+`, underlined), as the printed digits tell
them apart: equal ones share the mark. Reported rows stand beside the measured ones without being ranked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from samsod.evaluation.tables.text import (
    METRICS,
    csv_text,
    is_better_when_smaller,
    markdown_table,
    text_table,
    with_arrow,
)

COSTS = {"params_M": "params (M)", "flops_G": "FLOPs (G)", "fps": "FPS", "memory_GiB": "memory (GiB)"}
COSTS |= {"step_ms": "step (ms)"}
"""Headings of the usual costs, in order; others go by their own names, after these."""

REPORTED_DIGITS = 3
"""What papers print; values taken from them get no zeros appended beyond."""

_LATEX = {character: f"\\{character}" for character in "#$%&_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$"}

Style = Callable[[str, str, int], str]
"""Makes a cell of a value, its spread and its place: 1 best, 2 second, 3 third best, 0 none of them."""
COLOURS = ("red", "green", "blue")
"""Of the best three in LaTeX."""


@dataclass(frozen=True)
class Row:
    """A method in a comparison."""

    method: str
    scores: Mapping[str, Mapping[str, float]]
    """Data set -> metric -> value; those it lacks print "-"."""
    spread: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Standard deviations over seeds, in the same order; printed as "± .004"."""
    reported: bool = False
    """Values of a paper: marked so, and not ranked unless asked for."""
    cost: Mapping[str, float] = field(default_factory=dict)
    """What the method takes, by the keys of `COSTS` or others."""
    signed: bool = False
    """Differences: printed with a sign, never ranked."""


@dataclass(frozen=True)
class Comparison:
    """A table and how it is printed.

    Attributes:
        rows: The methods, in order.
        metrics: Which metrics and in which order; by default all there are, in the order of `tables.METRICS`.
        digits: Digits after the point.
        rank_reported: Let reported values compete for best and second.
    """

    rows: Sequence[Row]
    metrics: Sequence[str] | None = None
    digits: int = 4
    rank_reported: bool = False

    def text(self) -> str:
        """For a terminal: a line for each method under every data set, best `*` and second `+`."""
        datasets, metrics, costs = self.datasets(), self.columns(), self._costs()
        heading = ["set", "method", *map(with_arrow, metrics), *(COSTS.get(cost, cost) for cost in costs)]
        lines = []
        for dataset in datasets:
            columns = [self._column(dataset, metric, _as_text) for metric in metrics]
            columns += [self._cost_column(cost, _as_text) for cost in costs]
            for row, *cells in zip(self.rows, *columns, strict=True):
                if dataset in row.scores:
                    lines.append([dataset, _name(row), *cells])
        table = text_table(heading, lines, left=2)
        return f"{table}\n* best, + second best" if sum(map(self._is_ranked, self.rows)) > 1 else table

    def markdown(self) -> str:
        """A GitHub table: a line for each method, best bold, second underlined."""
        names = [_escaped_markdown(_name(row)) for row in self.rows]
        heading = ["method"]
        columns = []
        for dataset in self.datasets():
            for metric in self.columns():
                heading.append(f"{_escaped_markdown(dataset)} {with_arrow(metric)}")
                columns.append(self._column(dataset, metric, _as_markdown))
        for cost in self._costs():
            heading.append(_escaped_markdown(COSTS.get(cost, cost)))
            columns.append(self._cost_column(cost, _as_markdown))
        return markdown_table(heading, zip(names, *columns, strict=True))

    def latex(self, colours: bool = False) -> str:
        r"""A `tabular`, data sets over their metrics.

        Args:
            colours: Best, second and third in `COLOURS`, for which the document must load xcolor; else best `\textbf`
                and second `\underline`, which need no package.
        """
        style = _as_coloured_latex if colours else _as_latex
        datasets, metrics, costs = self.datasets(), self.columns(), self._costs()
        over = [f"\\multicolumn{{{len(metrics)}}}{{c}}{{{_escaped_latex(dataset)}}}" for dataset in datasets]
        under = [_escaped_latex(metric) + _latex_arrow(metric) for metric in metrics] * len(datasets)
        titles = [_escaped_latex(COSTS.get(cost, cost)) for cost in costs]
        columns = [self._column(dataset, metric, style) for dataset in datasets for metric in metrics]
        columns += [self._cost_column(cost, style) for cost in costs]
        names = [_escaped_latex(_name(row)) for row in self.rows]
        lines = [f"\\begin{{tabular}}{{l{'r' * len(columns)}}}", "\\hline"]
        lines += [" & ".join(["", *over, *[""] * len(costs)]) + r" \\"]
        lines += [" & ".join(["Method", *under, *titles]) + r" \\", "\\hline"]
        lines += [" & ".join(cells) + r" \\" for cells in zip(names, *columns, strict=True)]
        needs = [r"% needs \usepackage{xcolor}"] if colours else []
        return "\n".join([*needs, *lines, "\\hline", "\\end{tabular}"])

    def csv(self) -> str:
        """Every value with all its digits: a line for each method and data set; `_std` columns hold the spread."""
        metrics, costs = self.columns(), self._costs()
        spreads = [m for m in metrics if any(m in by_metric for row in self.rows for by_metric in row.spread.values())]
        heading = ["method", "kind", "set", "images", *metrics, *(f"{m}_std" for m in spreads), *costs]
        lines: list[list[object]] = [[*heading]]
        for row in self.rows:
            kind = "difference" if row.signed else "reported" if row.reported else "measured"
            for dataset, scores in row.scores.items():
                spread = row.spread.get(dataset, {})
                values = [scores.get(m, "") for m in ("images", *metrics)] + [spread.get(m, "") for m in spreads]
                lines.append([row.method, kind, dataset, *values, *(row.cost.get(c, "") for c in costs)])
        return csv_text(lines)

    def placed(self, dataset: str, metric: str) -> list[tuple[str, int]]:
        """A metric's values, top to bottom, as printed, and their places: see `Style`."""
        values = [self._rounded(row, row.scores.get(dataset, {}).get(metric)) for row in self.rows]
        ranked = [
            float(value) if self._is_ranked(row) and value not in ("-", "nan") else None
            for row, value in zip(self.rows, values, strict=True)
        ]
        return list(zip(values, _places(ranked, is_better_when_smaller(metric)), strict=True))

    def datasets(self) -> list[str]:
        """The data sets, in order."""
        return _in_order(dataset for row in self.rows for dataset in row.scores)

    def columns(self) -> list[str]:
        """The metrics, in order."""
        there = _in_order(metric for row in self.rows for scores in row.scores.values() for metric in scores)
        if self.metrics is not None:
            return list(self.metrics)
        return [m for m in METRICS if m in there] + [m for m in there if m not in (*METRICS, "images")]

    def _costs(self) -> list[str]:
        there = _in_order(cost for row in self.rows for cost in row.cost)
        return [cost for cost in COSTS if cost in there] + [cost for cost in there if cost not in COSTS]

    def _is_ranked(self, row: Row) -> bool:
        return not row.signed and (self.rank_reported or not row.reported)

    def _column(self, dataset: str, metric: str, style: Style) -> list[str]:
        """The cells of a metric, top to bottom."""
        cells = []
        for row, (value, place) in zip(self.rows, self.placed(dataset, metric), strict=True):
            spread = row.spread.get(dataset, {}).get(metric)
            deviation = "" if spread is None or value == "-" else f" ± {self._spread(spread)}"
            cells.append(style(value, deviation, place))
        return cells

    def _rounded(self, row: Row, value: float | None) -> str:
        if value is None:
            return "-"
        if row.signed:
            return _signed(f"{value:+.{self.digits}f}")
        text = f"{value:.{self.digits}f}"
        if row.reported:
            while text.endswith("0") and len(text.partition(".")[2]) > REPORTED_DIGITS:
                text = text[:-1]
        return text

    def _spread(self, value: float) -> str:
        text = f"{value:.{self.digits}f}"
        return text[1:] if text.startswith("0.") else text

    def _cost_column(self, cost: str, style: Style) -> list[str]:
        return [style(_cost(row.cost.get(cost), row.signed), "", 0) for row in self.rows]


def difference(measured: Row, reported: Row) -> Row:
    """Measured minus reported, of the values both have; a row to put below the two."""

    def minus(mine: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
        return {name: value - other[name] for name, value in mine.items() if name in other and name != "images"}

    shared = [dataset for dataset in measured.scores if dataset in reported.scores]
    scores = {dataset: minus(measured.scores[dataset], reported.scores[dataset]) for dataset in shared}
    return Row("difference", scores, cost=minus(measured.cost, reported.cost), signed=True)


def _places(values: Sequence[float | None], ascending: bool) -> list[int]:
    """1 to 3 for the best three, 0 for the others; equal values share a place, one alone has none."""
    there = [value for value in values if value is not None]
    order = sorted(set(there), reverse=not ascending)[:3] if len(there) > 1 else []
    return [order.index(value) + 1 if value is not None and value in order else 0 for value in values]


def _name(row: Row) -> str:
    return f"{row.method} (reported)" if row.reported else row.method


def _cost(value: float | None, signed: bool) -> str:
    if value is None:
        return "-"
    digits = 1 if math.isnan(value) or abs(value) >= 10 else 2
    return _signed(f"{value:+.{digits}f}") if signed else f"{value:.{digits}f}"


def _signed(text: str) -> str:
    """No sign for what is printed as zero."""
    return text[1:] if not re.search("[1-9a-z]", text) else text


def _as_text(value: str, spread: str, place: int) -> str:
    return f"{value}{spread}{('', '*', '+', ' ')[place]}" if place else f"{value}{spread} "


def _as_markdown(value: str, spread: str, place: int) -> str:
    return (value, f"**{value}**", f"<u>{value}</u>", value)[place] + spread


def _as_latex(value: str, spread: str, place: int) -> str:
    marked = (f"\\textbf{{{value}}}", f"\\underline{{{value}}}")[place - 1] if place in (1, 2) else _plain_latex(value)
    return marked + spread.replace("±", r"$\pm$")


def _as_coloured_latex(value: str, spread: str, place: int) -> str:
    marked = f"\\textcolor{{{COLOURS[place - 1]}}}{{{value}}}" if place else _plain_latex(value)
    return marked + spread.replace("±", r"$\pm$")


def _plain_latex(value: str) -> str:
    return value if value[0] not in "+-" or value == "-" else f"${value}$"  # a minus, not a hyphen


def _latex_arrow(metric: str) -> str:
    return r" $\downarrow$" if is_better_when_smaller(metric) else r" $\uparrow$"


def _escaped_latex(name: str) -> str:
    return "".join(_LATEX.get(character, character) for character in name)


def _escaped_markdown(name: str) -> str:
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", name)


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
