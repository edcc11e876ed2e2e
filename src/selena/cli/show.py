"""What commands print: tables, verdicts, and the paths of the files that they write."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from selena.auditing.gate import ConditionResult, exit_code
from selena.files.escaping import printable
from selena.files.writing import is_standard_output, together, write_json
from selena.reports.console import SafeConsole, literal
from selena.reports.results import Results
from selena.reports.table import canary_words, time_words
from selena.reports.terminal import (
    audit_notes,
    audit_table,
    canary_table,
    results_notes,
    results_table,
)

_WIDTH = 120
_STYLES = {"passes": "green", "unresolved": "yellow", "fails": "red"}
_GATE = {0: "passes", 2: "is unresolved: there are too few records", 3: "fails"}


def wide_console(*files: Path | None) -> Console:
    """Return a console as wide as its terminal, or as the tables for a file or a pipe.

    It writes to the error stream if one of the command's `files` is the output stream.
    """
    stderr = any(path is not None and is_standard_output(path) for path in files)
    console = SafeConsole(stderr=stderr)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return SafeConsole(stderr=stderr, width=_WIDTH)


def show_results(console: Console, results: Results, *, title: str) -> None:
    """Print results as one table with notes."""
    rows, seconds = results.rows, results.attack_seconds
    console.print(results_table(rows, title=title, seconds=seconds))
    for note in filter(None, [*results_notes(rows), time_words(seconds)]):
        console.print(note, markup=False)
    planted = canary_table(rows)
    if planted:
        console.print(planted)
        console.print(canary_words(rows), markup=False)


def show_audit(console: Console, audit: dict[str, Any], *, title: str) -> None:
    """Print every attack of one audit."""
    console.print(audit_table(audit, title=title))
    for note in audit_notes(audit):
        console.print(note, markup=False)


def show_written(console: Console, path: Path) -> None:
    """Print the path of a written file in one line."""
    console.print(f"Written: {printable(str(path))}", markup=False, soft_wrap=True)


def show_verdicts(console: Console, verdicts: Sequence[ConditionResult]) -> None:
    """Print the verdict on each condition and the result of the gate."""
    bounds = ", ".join(dict.fromkeys(verdict.bound for verdict in verdicts))
    table = Table(title=f"Gate (bound: {bounds})", box=None, padding=(0, 2, 0, 0), leading=1)
    for heading in ("Condition", "Value", "Verdict", "Why"):
        table.add_column(heading, no_wrap=heading == "Value")
    for verdict in verdicts:
        measured = verdict.measured
        low, high = measured.interval
        table.add_row(
            f"{literal(str(verdict.condition))}\n{literal(verdict.subject)}".strip(),
            f"{measured.value:.4f}\n{low:.4f} to {high:.4f}",
            f"[{_STYLES[verdict.outcome]}]{verdict.outcome}[/]",
            f"{literal(verdict.reason)}\n{literal(measured.source)}",
        )
    console.print(table)
    code = exit_code(verdicts)
    console.print(
        "Below each value is its interval, with 95 % confidence for all of them together. The gate "
        f"{_GATE[code]} (exit code {code})."
    )


def finish(
    console: Console,
    results: Results,
    out: Path | None,
    json_out: Path | None,
    *,
    title: str,
    more: Mapping[str, Any] | None = None,
    html: Path | None = None,
    also: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Write the requested files (with `more` in the JSON), print the table, return the files.

    All files appear together, including those that `also` writes.
    """
    command = shlex.join(["selena", *sys.argv[1:]])
    # Files first, because writing to a closed terminal fails.
    with together():
        written = results.write_report(out, title=title, command=command) if out else []
        for page in (out / "report.html" if out else None, html):
            if page:
                results.write_page(page, title=title, command=command)
                written.append(page)
        if json_out:
            write_json(json_out, {**results.to_json(command), **(more or {})})
            written.append(json_out)
        also()
    show_results(console, results, title=title)
    for path in written:
        show_written(console, path)
    return written
