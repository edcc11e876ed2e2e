"""What commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from selena.audit.table import TITLES, table_cells


def show_rows(
    console: Console,
    rows: Sequence[dict[str, Any]],
    *,
    title: str,
    seconds: dict[str, float] | None = None,
) -> None:
    """Print rows of results as one table, with what it does not show."""
    table = Table(title=title, show_lines=True)
    for heading in TITLES:
        table.add_column(heading, overflow="fold")
    for line in table_cells(rows, seconds):
        table.add_row(*(f"{cell.text}\n{cell.spread}".strip() for cell in line))
    console.print(table)
    single = len({row["seed"] for row in rows}) == 1
    console.print(
        "In percent; attack accuracy 50 is a random guess. "
        + ("[ ] 95 % intervals." if single else "± standard deviation over seeds."),
        markup=False,
    )
    if any(row["synthetic"] for row in rows):
        console.print("The data are synthetic: no real person stands behind a record.")
    if any(row["selected_on_evaluation"] for row in rows):
        console.print("Weights were selected on evaluation data (the paper's way): biased upwards.")


def show_audit(console: Console, audit: dict[str, Any], *, title: str) -> None:
    """Print every attack of one audit."""
    table = Table(title=title)
    for heading in ("Attack", "Threshold", "Attack acc.", "Advantage", "AUC", "TPR @ 1% FPR"):
        table.add_column(heading)
    for name, result in audit["attacks"].items():
        for variant in ("global", "per_class"):
            figures = result[variant]
            point = figures["tpr_at_fpr"]["0.01"]
            table.add_row(
                name,
                variant,
                *(
                    _with_interval(figures, key)
                    for key in ("balanced_accuracy", "advantage", "auc")
                ),
                f"{100 * point['tpr']:.1f}" if point["resolved"] else "unresolved at this n",
            )
    console.print(table)
    best = audit["best"]["direct"]
    console.print(
        f"Best attack on the known rows: {best['attack']}, "
        f"{100 * best['balanced_accuracy']:.1f} % on the others (50 is a random guess)."
    )


def _with_interval(figures: dict[str, Any], key: str) -> str:
    low, high = figures[f"{key}_interval"]
    return f"{100 * figures[key]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
