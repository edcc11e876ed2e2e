"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selena.files.escaping import markdown, markdown_code
from selena.reports.table import (
    CANARY_TITLES,
    TITLES,
    AttackSeconds,
    Cell,
    canary_cells,
    canary_words,
    few_words,
    table_cells,
    table_figures,
    time_words,
)


def render_markdown(
    rows: Sequence[dict[str, Any]],
    *,
    title: str,
    command: str,
    figure: str | None = None,
    seconds: AttackSeconds | None = None,
) -> str:
    """Return the report of `rows` (as `selena run` has them) as Markdown.

    Args:
        rows: results.
        title: heading.
        command: the command that made them.
        figure: file name of the figure beside the report, if there is one.
        seconds: see `table_cells`.
    """
    lines, canaries = (
        [[_escape(cell) for cell in line] for line in cells]
        for cells in (table_cells(rows, seconds), canary_cells(rows))
    )
    return (
        _environment()
        .get_template("report.md.j2")
        .render(
            title=markdown(title),
            command=command and markdown_code(command),
            figure=figure,
            titles=TITLES,
            lines=lines,
            canary_titles=CANARY_TITLES,
            canary_lines=canaries,
            canary_words=canary_words(rows),
            few=few_words(table_figures(rows)),
            times=time_words(seconds),
            rows=rows,
            synthetic=any(row["synthetic"] for row in rows),
            flagged=any(row["selected_on_evaluation"] for row in rows),
            seeds=sorted({row["seed"] for row in rows}),
            n=rows[0]["n"],
        )
    )


@cache  # it keeps the template that it has compiled
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("selena.reports"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escape(cell: Cell) -> str:
    spread = cell.spread if cell.spread.startswith("±") or not cell.spread else f"({cell.spread})"
    by = f"by {cell.by}" if cell.by else ""
    return markdown(" ".join(filter(None, (cell.text, spread, by))))
