"""The tables of the page: every attack on every defense, and the most exposed records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from selena.auditing.figure import figures_of
from selena.auditing.vulnerability import (
    ExposedRecord,
    Exposure,
    ExposureChange,
    compare,
    report_exposure,
)
from selena.errors import DataError
from selena.reports.page.words import one_in
from selena.reports.runs import ModelRuns, Run, baseline_of
from selena.reports.table import FEW, Cell, accuracy_quantity, attack_words

TITLES = (
    "Defense",
    "Attack",
    "Family",
    "Sees",
    "Queries",
    "Attack acc. (%)",
    "AUC (%)",
    "TPR @ 1% FPR (%)",
    "TPR @ 0.1% FPR (%)",
)
WORDS = 4
"""Number of first columns that hold words; the others hold figures."""

_FPRS = ("0.01", "0.001")
_VARIANTS = ("global", "per_class")
_MARKS = {
    "tpr@fpr=0.01": "TPR at 1 %",
    "tpr@fpr=0.001": "TPR at 0.1 %",
    "balanced_accuracy": "accuracy",
    "auc": "AUC",
}
_SEES = {"label": "labels", "logits": "confidences", "gradient": "gradients"}
SHOWN = 20
"""Number of exposed records in a table."""

_EXPOSED_FPRS = (0.01, 0.1)


@dataclass(frozen=True)
class SortCell:
    """A cell and its sort key.

    Attributes:
        cell: what is shown.
        value: a number to sort by; None sorts by the text, or last among numbers.
    """

    cell: Cell
    value: float | None = None


@dataclass(frozen=True)
class AttackLine:
    """One attack on one defense.

    Attributes:
        cells: under `TITLES`.
        mark: names the figures in which the attack is the strongest, in the first seed.
    """

    cells: list[SortCell]
    mark: str


def attack_lines(models: Sequence[ModelRuns]) -> list[AttackLine]:
    """Return one line per defense and attack, the attacks of one family together."""
    return [
        _line(model, name)
        for model in models
        for family in model.families
        for name, attack in model.first["attacks"].items()
        if attack["family"] == family
    ]


def _line(model: ModelRuns, name: str) -> AttackLine:
    attacks = [row["attacks"][name] for row in model.rows if name in row["attacks"]]
    variant = max(
        _VARIANTS, key=lambda each: fmean(attack[each]["known_accuracy"] for attack in attacks)
    )
    figures = [attack[variant] for attack in attacks]
    queries = fmean(attack["queries_per_record"] for attack in attacks)
    first = attacks[0]
    return AttackLine(
        [
            SortCell(Cell(model.label)),
            SortCell(Cell(attack_words(name), _threshold(variant))),
            SortCell(Cell(first["family"])),
            SortCell(Cell(_SEES.get(first["access"], first["access"]))),
            SortCell(Cell(f"{queries:.3g}"), queries),
            *(_figure(figures, key) for key in ("balanced_accuracy", "auc")),
            *(_low_fpr(figures, fpr) for fpr in _FPRS),
        ],
        _marks(model.first, name),
    )


def _threshold(variant: str) -> str:
    return "one threshold per class" if variant == "per_class" else "one threshold"


def _marks(row: dict[str, Any], name: str) -> str:
    """Name the figures in which the attack is the strongest, in the first seed."""
    figures = figures_of(row)
    titles = [title for metric, title in _MARKS.items() if figures[metric].name == name]
    return f"strongest in {', '.join(titles)}" if titles else ""


def _figure(figures: Sequence[dict[str, Any]], key: str) -> SortCell:
    found = accuracy_quantity(figures, key)
    return SortCell(found.cell(), fmean(found.values))


def _low_fpr(figures: Sequence[dict[str, Any]], fpr: str) -> SortCell:
    points = [each["tpr_at_fpr"].get(fpr) for each in figures]
    if not all(points):
        return SortCell(Cell("–"))
    renamed = [{"tpr": point["tpr"], "tpr_interval": point["interval"]} for point in points]
    found = _figure(renamed, "tpr")
    if all(point["resolved"] for point in points):
        return found
    return replace(found, cell=replace(found.cell, text=f"{found.cell.text} {FEW}"))


@dataclass(frozen=True)
class ExposedTable:
    """The most exposed members of one model, and their exposure under the defenses.

    Attributes:
        label: name of the model.
        seed: seed of the run that is shown.
        titles: titles of the columns.
        lines: cells under `titles`.
        sentences: for each defense, the numbers of members found before and after.
    """

    label: str
    seed: int
    titles: list[str]
    lines: list[list[SortCell]]
    sentences: list[str]


def exposed_tables(models: Sequence[ModelRuns]) -> list[ExposedTable]:
    """Return one table per data set, for the model with which its defenses are compared.

    A model without kept scores has no table.
    """
    tables = []
    for base in models:
        before = _exposure(base.runs[0])
        if baseline_of(base, models) is None and before is not None:
            others = [model for model in models if baseline_of(model, models) is base]
            tables.append(_table(base, before, others))
    return tables


def _exposure(run: Run) -> Exposure | None:
    if run.report is None or not run.report.attacks:
        return None
    return report_exposure(run.report)


def _table(base: ModelRuns, before: Exposure, others: Sequence[ModelRuns]) -> ExposedTable:
    seed = base.first["seed"]
    found = {model.label: _compared(before, model, seed) for model in others}
    after = {label: each for label, each in found.items() if each is not None}
    rows_after = {
        label: {int(record): row for row, record in enumerate(each.after.ids)}
        for label, each in after.items()
    }

    def under(label: str, record: ExposedRecord) -> SortCell:
        row = rows_after[label].get(record.id)
        return SortCell(Cell("–")) if row is None else _found_at(after[label].after.record(row))

    lines = [
        [
            SortCell(Cell(str(record.id)), record.id),
            SortCell(Cell(str(record.label)), record.label),
            SortCell(Cell(f"{record.score:.4g}"), record.score),
            SortCell(Cell(f"{record.percentile:.1f}"), record.percentile),
            _found_at(record),
            *(under(label, record) for label in after),
        ]
        for record in before.top(SHOWN)
    ]
    fpr = next((each for each in _EXPOSED_FPRS if each * before.non_members >= 1), None)
    return ExposedTable(
        base.label,
        seed,
        [
            "Record",
            "Class",
            "Score",
            "Percentile among non-members",
            *(f"Found at FPR (%), {label}" for label in (base.label, *after)),
        ],
        lines,
        [_counts(base.label, label, each, fpr) for label, each in after.items() if fpr],
    )


def _compared(before: Exposure, model: ModelRuns, seed: int) -> ExposureChange | None:
    """Compare with the run of this seed; None without such a run or its scores."""
    for run in model.runs:
        after = _exposure(run)
        if run.row["seed"] == seed and after is not None:
            try:
                return compare(before, after)
            except DataError:  # different records under one name cannot be compared
                return None
    return None


def _found_at(record: ExposedRecord) -> SortCell:
    if record.false_positives == 0:
        return SortCell(Cell(f"below {100 / record.non_members:.2g}"), 0.0)
    return SortCell(Cell(f"{100 * record.fpr:.2f}"), 100 * record.fpr)


def _counts(base: str, label: str, comparison: ExposureChange, fpr: float) -> str:
    before, after, both = comparison.found(fpr)
    return (
        f"With at most {one_in(fpr)} accused wrongly, {before:,} of "
        f"{len(comparison.before):,} members are found in {base} and {after:,} of the same "
        f"members in {label}: {both:,} in both, {after - both:,} only in {label}."
    )
