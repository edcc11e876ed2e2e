"""Results and audits as tables for a terminal, and as the text that `print` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from selena.auditing.figure import EPSILON, Figure, chance, figures_of, tpr_metric
from selena.reports.console import SafeConsole, literal
from selena.reports.table import (
    CANARY_TITLES,
    FEW,
    TITLES,
    AttackSeconds,
    Cell,
    attack_words,
    canary_cells,
    canary_words,
    few_words,
    have_subjects,
    percent,
    table_cells,
    table_figures,
)

# Wide enough for the tables; text also goes to files and notebooks, which have no width.
_WIDTH = 120
_GROUPED = "Records of one subject count as one, by the mean of their scores."
HEADLINES = {
    tpr_metric(0.01): "TPR at 1 % FPR",
    "balanced_accuracy": "Attack accuracy",
    "auc": "AUC",
}
"""The figures that a summary shows, and their names in words."""


def results_table(
    rows: Sequence[dict[str, Any]],
    *,
    title: str | None = None,
    seconds: AttackSeconds | None = None,
) -> Table:
    """Return rows of results (as `selena run` has them) as one table.

    Args:
        rows: one per defense and seed.
        title: heading.
        seconds: see `table_cells`.
    """
    return _table_of_cells(TITLES, table_cells(rows, seconds), title)


def canary_table(rows: Sequence[dict[str, Any]]) -> Table | None:
    """Return the table of canaries, or None if none were planted."""
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
        # A space in place of an empty text keeps the figures of a line at one height.
        table.add_row(*("\n".join(map(literal, _lines(cell))) for cell in line))
    return table


def _lines(cell: Cell) -> list[str]:
    return [cell.text or " ", cell.spread, *([f"by {cell.by}"] if cell.by else [])]


def results_notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the notes below `results_table`."""
    single = len({row["seed"] for row in rows}) == 1
    notes = [
        "In percent; attack accuracy 50 is a random guess. Each figure is of the attack that is "
        "strongest in it on known records. "
        + ("Below: 95 % intervals." if single else "±: standard deviation over seeds.")
    ]
    if few := few_words(table_figures(rows)):
        notes.append(few)
    if any(row["synthetic"] for row in rows):
        notes.append("The data are synthetic: no real person stands behind a record.")
    if any(row["selected_on_evaluation"] for row in rows):
        notes.append("Weights were selected on evaluation data (the paper's way): biased upwards.")
    if have_subjects(rows):
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
                literal(attack_words(name)),
                attack_words(variant),
                *(_with_interval(figures, key) for key in ("balanced_accuracy", "auc")),
                _interval_text(point["tpr"], point["interval"])
                + ("" if point["resolved"] else f" {FEW}"),
            )
    return table


def audit_notes(audit: dict[str, Any]) -> list[str]:
    """Return the verdict, the strongest attack in each figure, and the model's accuracies."""
    accuracies = ", ".join(
        f"{_with_interval(audit, f'{which}_accuracy')} {where}"
        for which, where in (("train", "of its training records"), ("test", "of the others"))
    )
    figures = figures_of(audit)
    shown = [figures[metric] for metric in (*HEADLINES, EPSILON) if metric in figures]
    few = few_words(shown)
    return [
        f"Leak: {audit['verdict']['level']}. {audit['verdict']['reason']}",
        f"In percent, with 95 % intervals. The model is right for {accuracies}.",
        *(_figure_line(audit, figure) for figure in shown),
        *([few] if few else []),
        *([_GROUPED] if have_subjects([audit]) else []),
    ]


def _figure_line(audit: Mapping[str, Any], figure: Figure) -> str:
    tied = f"; tied with {len(figure.ties)} more" if figure.ties else ""
    by = f"by {attack_words(figure.attack)} ({figure.family}{tied})"
    if figure.metric == EPSILON:
        planted = figure.members + figure.non_members
        both = audit["attacks"][figure.name]["canaries"]["copies"]
        of_both = ", of a record and its copy together," if both else ""
        return f"Epsilon, by {planted:,} canaries: at least {figure.value:.2f}{of_both} {by}."
    guess = f"{100 * chance(figure.metric):g}"
    few = "" if figure.resolved else f" {FEW}"
    value = _interval_text(figure.value, figure.interval)
    return f"{HEADLINES[figure.metric]}: {value}{few} {by}; guessing gives {guess}."


def as_text(table: Table, notes: Sequence[str]) -> str:
    """Return a table and the notes below it as plain text."""
    console = SafeConsole(width=_WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, *notes])


def _with_interval(figures: dict[str, Any], key: str) -> str:
    return _interval_text(figures[key], figures[f"{key}_interval"])


def _interval_text(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{percent(value)} ({percent(low)}–{percent(high)})"
