"""Rows of results as the cells of one table, and their means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, get_args

from selena.types import Family

TITLES = (
    "Defense",
    "Train acc.",
    "Test acc.",
    "Best attack",
    "Attack acc.",
    "AUC",
    "TPR @ 1% FPR",
)

_FPR = "0.01"


@dataclass(frozen=True)
class Cell:
    """A figure and how sure it is.

    Attributes:
        text: the figure.
        spread: its 95 % interval, or mean and standard deviation over seeds; may be empty.
    """

    text: str
    spread: str = ""


@dataclass(frozen=True)
class Quantity:
    """Values of one figure, one a seed, and the interval of the first.

    Attributes:
        values: one a seed.
        interval: 95 % interval of a single value.
    """

    values: tuple[float, ...]
    interval: tuple[float, float]

    def cell(self) -> Cell:
        """Return the value in percent with its interval, or mean and deviation over seeds."""
        if len(self.values) == 1:
            low, high = self.interval
            return Cell(percent(self.values[0]), f"{percent(low)}–{percent(high)}")
        return Cell(percent(fmean(self.values)), f"± {percent(stdev(self.values))}")


def percent(share: float) -> str:
    """Return a share in percent with one decimal."""
    return f"{100 * share:.1f}"


def summarize_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean, standard deviation and n over seeds, one entry a defense."""
    entries = []
    for defense, group in _by_defense(rows):
        entry: dict[str, Any] = {"defense": defense, "seeds": [row["seed"] for row in group]}
        for name in ("train_accuracy", "test_accuracy"):
            entry[name] = _moments([row[name] for row in group])
        entry["best"] = {
            family: {
                "balanced_accuracy": _moments(
                    [row["best"][family]["balanced_accuracy"] for row in group]
                ),
                "auc": _moments([row["best"][family]["auc"] for row in group]),
                "tpr_at_1_percent_fpr": _moments(
                    [row["best"][family]["tpr_at_fpr"][_FPR]["tpr"] for row in group]
                ),
            }
            for family in group[0]["best"]
        }
        entries.append(entry)
    return entries


def table_cells(
    rows: Sequence[dict[str, Any]], seconds: dict[str, float] | None = None
) -> list[list[Cell]]:
    """Return one line of cells a defense and family, under `TITLES`.

    Args:
        rows: results as `selena run` has them; rows of one defense are its seeds.
        seconds: time that each family's attacks took, by "defense/family".
    """
    lines = []
    for defense, group in _by_defense(rows):
        for i, family in enumerate(f for f in get_args(Family) if f in group[0]["best"]):
            bests = [row["best"][family] for row in group]
            head = [Cell("")] * 3
            if i == 0:
                seeds = "" if len(group) == 1 else f"{len(group)} seeds"
                head = [
                    Cell(defense, seeds),
                    _quantity(group, "train_accuracy").cell(),
                    _quantity(group, "test_accuracy").cell(),
                ]
            lines.append(
                [
                    *head,
                    _attack_cell(family, bests, (seconds or {}).get(f"{defense}/{family}")),
                    _quantity(bests, "balanced_accuracy").cell(),
                    _quantity(bests, "auc").cell(),
                    _low_fpr(bests),
                ]
            )
    return lines


def _by_defense(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["defense"], []).append(row)
    return list(groups.items())


def _quantity(rows: Sequence[dict[str, Any]], name: str) -> Quantity:
    low, high = rows[0][f"{name}_interval"]
    return Quantity(tuple(row[name] for row in rows), (low, high))


def _low_fpr(bests: Sequence[dict[str, Any]]) -> Cell:
    points = [best["tpr_at_fpr"][_FPR] for best in bests]
    if not all(point["resolved"] for point in points):
        needed = max(point["needed_non_members"] for point in points)
        return Cell("unresolved", f"needs {needed} non-members")
    low, high = points[0]["interval"]
    return Quantity(tuple(point["tpr"] for point in points), (low, high)).cell()


def _attack_cell(family: str, bests: Sequence[dict[str, Any]], seconds: float | None) -> Cell:
    """Name the family's best attack and what it cost: queries a record, time of the family."""
    names = list(dict.fromkeys(best["attack"] for best in bests))
    name = names[0].replace("_", " ").replace("/", ", ")
    others = "" if len(names) == 1 else f" (or {len(names) - 1} other)"
    inside = " (white-box)" if any(best["access"] == "gradient" for best in bests) else ""
    queries = fmean(best["queries_per_record"] for best in bests)
    cost = f"{queries:.3g} {'query' if queries == 1 else 'queries'}"
    return Cell(f"{family}: {name}{inside}{others}", f"{cost}{_duration(seconds)}")


def _moments(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": fmean(values),
        "standard_deviation": stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", {seconds:.1f} s" if seconds < 60 else f", {seconds / 60:.1f} min"
