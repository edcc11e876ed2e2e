"""What commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from selena.auditing.gate import Verdict, exit_code
from selena.auditing.table import TITLES, percent, table_cells

_WORDS = ("Defense", "Best attack")
_STYLES = {"holds": "green", "unresolved": "yellow", "fails": "red"}
_GATE = {0: "holds", 2: "is unresolved: these records cannot settle it", 3: "fails"}


def show_rows(
    console: Console,
    rows: Sequence[dict[str, Any]],
    *,
    title: str,
    seconds: dict[str, float] | None = None,
) -> None:
    """Print rows of results as one table, with what it does not show."""
    table = Table(title=title, box=None, leading=1, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in TITLES:
        words = heading in _WORDS
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words)
    for line in table_cells(rows, seconds):
        # A space where there is nothing keeps figures of a line on one height.
        table.add_row(*(escape(f"{cell.text or ' '}\n{cell.spread}") for cell in line))
    console.print(table)
    single = len({row["seed"] for row in rows}) == 1
    console.print(
        "In percent; attack accuracy 50 is a random guess. "
        + ("Below: 95 % intervals." if single else "±: standard deviation over seeds.")
    )
    if any(row["synthetic"] for row in rows):
        console.print("The data are synthetic: no real person stands behind a record.")
    if any(row["selected_on_evaluation"] for row in rows):
        console.print("Weights were selected on evaluation data (the paper's way): biased upwards.")


def show_audit(console: Console, audit: dict[str, Any], *, title: str) -> None:
    """Print every attack of one audit."""
    table = Table(title=escape(title), box=None, padding=(0, 2, 0, 0))
    for heading in ("Attack", "Threshold", "Attack acc.", "AUC", "TPR @ 1% FPR"):
        table.add_column(heading, no_wrap=True)
    for name, result in audit["attacks"].items():
        for variant in ("global", "per_class"):
            figures = result[variant]
            point = figures["tpr_at_fpr"]["0.01"]
            table.add_row(
                name.replace("_", " "),
                variant.replace("_", " "),
                *(_with_interval(figures, key) for key in ("balanced_accuracy", "auc")),
                percent(point["tpr"]) if point["resolved"] else "unresolved",
            )
    console.print(table)
    for family, best in audit["best"].items():
        console.print(
            f"Best {family} attack by the known rows: {best['attack']}, "
            f"{100 * best['balanced_accuracy']:.1f} % on the others (50 is a random guess)."
        )


def show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print what became of each condition, and of the gate."""
    bounds = ", ".join(dict.fromkeys(verdict.bound for verdict in verdicts))
    table = Table(title=f"Gate (bound: {bounds})", box=None, padding=(0, 2, 0, 0), leading=1)
    for heading in ("Condition", "Value", "Verdict", "Why"):
        table.add_column(heading, no_wrap=heading == "Value")
    for verdict in verdicts:
        measured = verdict.measured
        low, high = measured.interval
        table.add_row(
            escape(f"{verdict.condition}\n{verdict.subject}".strip()),
            f"{measured.value:.4f}\n{low:.4f} to {high:.4f}",
            f"[{_STYLES[verdict.outcome]}]{verdict.outcome}[/]",
            escape(f"{verdict.reason}\n{measured.source}"),
        )
    console.print(table)
    code = exit_code(verdicts)
    console.print(
        f"Below each value: its 95 % interval. The gate {_GATE[code]} (exit code {code})."
    )


def _with_interval(figures: dict[str, Any], key: str) -> str:
    low, high = figures[f"{key}_interval"]
    return f"{percent(figures[key])} ({percent(low)}–{percent(high)})"
