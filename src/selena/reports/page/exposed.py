"""The most exposed records, before and after each defense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selena.auditing.vulnerability import (
    ExposedRecord,
    Exposure,
    ExposureChange,
    compare,
    report_exposure,
)
from selena.errors import DataError
from selena.reports.page.attack_table import SortCell
from selena.reports.page.model_runs import ModelRuns, baseline_of
from selena.reports.page.runs import Run
from selena.reports.page.words import one_in
from selena.reports.table import Cell

SHOWN = 20
"""Number of records in a table."""

_FPRS = (0.01, 0.1)


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
    fpr = next((each for each in _FPRS if each * before.non_members >= 1), None)
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
