"""Every attack on every defense as cells of a table that sorts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from selena.auditing.table import Cell, attack_of
from selena.page.groups import Group, headline_family, quantity
from selena.page.words import attack_title

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
"""The first so many columns hold words, the others figures."""

_FPRS = ("0.01", "0.001")
_VARIANTS = ("global", "per_class")
_SEES = {"label": "labels", "logits": "confidences", "gradient": "gradients"}


@dataclass(frozen=True)
class SortCell:
    """A cell and what it is sorted by.

    Attributes:
        cell: what is shown.
        value: a number; None is sorted by its text, or last among numbers.
    """

    cell: Cell
    value: float | None = None


@dataclass(frozen=True)
class Line:
    """One attack on one defense.

    Attributes:
        cells: under `TITLES`.
        mark: "best of all", "best of its family" or nothing, by the first seed.
    """

    cells: list[SortCell]
    mark: str


def attack_lines(groups: Sequence[Group]) -> list[Line]:
    """Return one line a defense and attack, the attacks of one family together."""
    return [
        _line(group, name)
        for group in groups
        for family in group.families
        for name, attack in group.first["attacks"].items()
        if attack["family"] == family
    ]


def _line(group: Group, name: str) -> Line:
    attacks = [row["attacks"][name] for row in group.rows if name in row["attacks"]]
    variant = max(
        _VARIANTS, key=lambda each: fmean(attack[each]["known_accuracy"] for attack in attacks)
    )
    figures = [attack[variant] for attack in attacks]
    queries = fmean(attack["queries_per_record"] for attack in attacks)
    first = attacks[0]
    return Line(
        [
            SortCell(Cell(group.label)),
            SortCell(Cell(attack_title(name), _threshold(variant))),
            SortCell(Cell(first["family"])),
            SortCell(Cell(_SEES.get(first["access"], first["access"]))),
            SortCell(Cell(f"{queries:.3g}"), queries),
            *(_figure(figures, key) for key in ("balanced_accuracy", "auc")),
            *(_low_fpr(figures, fpr) for fpr in _FPRS),
        ],
        _mark(group.first, first["family"], name),
    )


def _threshold(variant: str) -> str:
    return "one threshold a class" if variant == "per_class" else "one threshold"


def _mark(row: dict[str, Any], family: str, name: str) -> str:
    if attack_of(row["best"][family]) != name:
        return ""
    return "best of all" if headline_family(row) == family else "best of its family"


def _figure(figures: Sequence[dict[str, Any]], key: str) -> SortCell:
    found = quantity(figures, key)
    return SortCell(found.cell(), fmean(found.values))


def _low_fpr(figures: Sequence[dict[str, Any]], fpr: str) -> SortCell:
    points = [each["tpr_at_fpr"].get(fpr) for each in figures]
    if not all(points):
        return SortCell(Cell("–"))
    if not all(point["resolved"] for point in points):
        needed = max(point["needed_non_members"] for point in points)
        return SortCell(Cell("unresolved", f"needs {needed:,}"))
    renamed = [{"tpr": point["tpr"], "tpr_interval": point["interval"]} for point in points]
    return _figure(renamed, "tpr")
