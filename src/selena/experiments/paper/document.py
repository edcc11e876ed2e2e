"""One list of cells, written as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from selena.files.escaping import csv_cell, latex, markdown, markdown_code
from selena.files.writing import atomic_path, together, write_json, write_text
from selena.reports.table import Cell


@dataclass(frozen=True)
class TextTable:
    """Lines of cells under titles.

    Attributes:
        titles: one per column.
        lines: one cell per title in each line.
    """

    titles: tuple[str, ...]
    lines: list[list[Cell]]


@dataclass(frozen=True, eq=False)
class Document:
    """A finished reproduction.

    Attributes:
        name: name of its files.
        title: title in words.
        table: its figures.
        figure: the drawing.
        notes: what a reader must know, one text per paragraph.
        settings: the requested settings.
        data: all figures, for `NAME.json`.
    """

    name: str
    title: str
    table: TextTable
    figure: Figure
    notes: list[str]
    settings: dict[str, Any]
    data: dict[str, Any]

    def write(self, folder: Path, command: str) -> list[Path]:
        """Write NAME.md, .csv, .tex, .json, .pdf and .png into `folder`; return their paths."""
        names = ("pdf", "png", "md", "csv", "tex", "json")
        paths = {suffix: folder / f"{self.name}.{suffix}" for suffix in names}
        with together():
            for suffix in ("pdf", "png"):
                # Without a date, so that the same figures give the same file.
                metadata = {"CreationDate": None} if suffix == "pdf" else {}
                with atomic_path(paths[suffix]) as temporary:
                    self.figure.savefig(temporary, format=suffix, dpi=150, metadata=metadata)
            write_text(paths["md"], self._markdown(command))
            write_text(paths["csv"], as_csv(self.table))
            write_text(paths["tex"], self._latex())
            write_json(paths["json"], self.data)
        return list(paths.values())

    def _markdown(self, command: str) -> str:
        settings = json.dumps(self.settings, indent=2)
        parts = [
            f"# {markdown(self.title)}",
            as_markdown(self.table),
            f"![{markdown(self.title)}]({self.name}.png)",
            *map(markdown, self.notes),
            "## Settings",
            f"Command: {markdown_code(command)}",
            f"```json\n{settings}\n```",
        ]
        return "\n\n".join(parts) + "\n"

    def _latex(self) -> str:
        return as_latex(self.table, caption=f"{self.title}.", notes=" ".join(self.notes))


def as_markdown(table: TextTable) -> str:
    """Return the table as Markdown, spreads in parentheses."""
    lines = _lines(table, markdown)
    titles = [markdown(title) for title in table.titles]
    rows = [titles, ["---"] * len(titles), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_csv(table: TextTable) -> str:
    """Return the table as CSV: one column per title, and one for its spread if there is any.

    Names of columns are the titles in lower case with underscores.
    """
    names = [_column(title) for title in table.titles]
    spread = [any(line[i].spread for line in table.lines) for i in range(len(names))]
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            column
            for name, wide in zip(names, spread, strict=True)
            for column in ([name, f"{name}_spread"] if wide else [name])
        ]
    )
    for line in table.lines:
        writer.writerow(
            [
                csv_cell(value)
                for cell, wide in zip(line, spread, strict=True)
                for value in ([cell.text, cell.spread] if wide else [cell.text])
            ]
        )
    return out.getvalue()


def as_latex(table: TextTable, *, caption: str, notes: str = "") -> str:
    """Return the table as a page-wide LaTeX float, with a gap before each new first cell."""
    columns = "ll" + "r" * (len(table.titles) - 2)
    titles = " & ".join(map(latex, table.titles))
    lines: list[str] = []
    first = ""
    for line in _lines(table, latex):
        if lines and line[0] != first:
            lines.append(r"\addlinespace")
        first = line[0]
        lines.append(" & ".join(line) + r" \\")
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs,graphicx}.",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{latex(caption)}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{titles} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\par\smallskip\raggedright\footnotesize {latex(notes)}",
            r"\end{table*}",
            "",
        ]
    )


def _lines(table: TextTable, escape: Callable[[str], str]) -> list[list[str]]:
    return [[escape(joined(cell)) for cell in line] for line in table.lines]


def joined(cell: Cell) -> str:
    """Return figure and spread as one text: "53.3 (51.2–55.4)" or "53.3 ± 0.4"."""
    spread = cell.spread if cell.spread.startswith("±") or not cell.spread else f"({cell.spread})"
    return f"{cell.text} {spread}".strip()


def _column(title: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in title.lower()).split()
    return "_".join(words)
