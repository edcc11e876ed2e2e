"""Results and audits as tables for a terminal, and as the text that `print` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from selena.auditing.table import (
    CANARY_TITLES,
    TITLES,
    Cell,
    are_grouped,
    canary_cells,
    canary_words,
    on_canaries,
    percent,
    table_cells,
)
from selena.console import SafeConsole, literal

# Wide enough for the tables; text is for files and notebooks too, which have no width of their own.
_WIDTH = 120
_GROUPED = "Records of one group count as one, by the mean of their scores."


def results_table(
    rows: Sequence[dict[str, Any]],
    *,
    title: str | None = None,
    seconds: dict[str, float] | None = None,
) -> Table:
    """Return rows of results (as `selena run` has them) as one table.

    Args:
        rows: one a defense and seed.
        title: heading.
        seconds: see `table_cells`.
    """
    return _table_of_cells(TITLES, table_cells(rows, seconds), title)


def canary_table(rows: Sequence[dict[str, Any]]) -> Table | None:
    """Return what was found of planted canaries, or None where none were planted."""
    lines = canary_cells(rows)
    return _table_of_cells(CANARY_TITLES, lines, "Canaries") if lines else None


def results_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return both tables of `rows` and their notes as plain text."""
    text = as_text(results_table(rows), results_notes(rows))
    planted = canary_table(rows)
    return text if planted is None else f"{text}\n{as_text(planted, [canary_words(rows)])}"


def _table_of_cells(
    titles: Sequence[str], lines: Sequence[Sequence[Cell]], title: str | None
) -> Table:
    table = Table(
        title=title and literal(title),
        box=None,
        leading=1,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in titles:
        breaks = heading in ("Best attack", "Attack")
        left = breaks or heading == "Defense"
        table.add_column(heading, justify="left" if left else "right", no_wrap=not breaks)
    for line in lines:
        # A space where there is nothing keeps figures of a line on one height.
        table.add_row(*(f"{literal(cell.text) or ' '}\n{literal(cell.spread)}" for cell in line))
    return table


def results_notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what has to be said below `results_table`."""
    single = len({row["seed"] for row in rows}) == 1
    notes = [
        "In percent; attack accuracy 50 is a random guess. "
        + ("Below: 95 % intervals." if single else "±: standard deviation over seeds.")
    ]
    if any(row["synthetic"] for row in rows):
        notes.append("The data are synthetic: no real person stands behind a record.")
    if any(row["selected_on_evaluation"] for row in rows):
        notes.append("Weights were selected on evaluation data (the paper's way): biased upwards.")
    if are_grouped(rows):
        notes.append(_GROUPED)
    return notes


def audit_table(audit: dict[str, Any], *, title: str | None = None) -> Table:
    """Return every attack of one audit (`AuditReport.to_json`) as one table."""
    table = Table(title=title and literal(title), box=None, padding=(0, 2, 0, 0))
    for heading in ("Attack", "Threshold", "Attack acc.", "AUC", "TPR @ 1% FPR"):
        table.add_column(heading, no_wrap=True)
    for name, result in audit["attacks"].items():
        for variant in ("global", "per_class"):
            figures = result[variant]
            point = figures["tpr_at_fpr"]["0.01"]
            table.add_row(
                literal(name.replace("_", " ")),
                variant.replace("_", " "),
                *(_with_interval(figures, key) for key in ("balanced_accuracy", "auc")),
                percent(point["tpr"]) if point["resolved"] else "unresolved",
            )
    return table


def audit_notes(audit: dict[str, Any]) -> list[str]:
    """Return how good the model is, and the best attack of each family."""
    accuracies = ", ".join(
        f"{_with_interval(audit, f'{which}_accuracy')} {where}"
        for which, where in (("train", "of its training records"), ("test", "of the others"))
    )
    return [
        f"In percent, with 95 % intervals. The model is right for {accuracies}.",
        *(
            f"Best {family} attack by the known rows: {best['attack']}, "
            f"{100 * best['balanced_accuracy']:.1f} % on the others (50 is a random guess)."
            + _of_canaries(on_canaries(audit, family))
            for family, best in audit["best"].items()
        ),
        *([_GROUPED] if are_grouped([audit]) else []),
    ]


def _of_canaries(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return (
        f" On the {found['members'] + found['non_members']} canaries: AUC "
        f"{_with_interval(found, 'auc')}, epsilon at least "
        f"{found['epsilon_lower_bound']['epsilon']:.2f}"
        f"{' (of a record and its copy together)' if found['copies'] else ''}."
    )


def as_text(table: Table, notes: Sequence[str]) -> str:
    """Return a table and the notes below it as plain text."""
    console = SafeConsole(width=_WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, *notes])


def _with_interval(figures: dict[str, Any], key: str) -> str:
    low, high = figures[f"{key}_interval"]
    return f"{percent(figures[key])} ({percent(low)}–{percent(high)})"
