"""Every attack on every defense, as cells of a sortable table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from selena.auditing.figure import figures_of
from selena.reports.page.model_runs import ModelRuns
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
