"""Rows of results as the cells of one table, and their means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, get_args

import numpy as np

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

CANARY_TITLES = (
    "Defense",
    "Attack",
    "AUC",
    "TPR @ 1% FPR",
    "TPR @ 10% FPR",
    "ε at least",
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
        canaries = _canary_moments(group)
        if canaries:
            entry["canaries"] = canaries
        entries.append(entry)
    return entries


def _canary_moments(group: list[dict[str, Any]]) -> dict[str, Any]:
    """Return by family what its best attack found of canaries, where all rows have some."""
    moments = {}
    for family in group[0]["best"]:
        found = [each for row in group if (each := on_canaries(row, family))]
        if len(found) == len(group):
            moments[family] = {
                "auc": _moments([each["auc"] for each in found]),
                "tpr_at_1_percent_fpr": _moments(
                    [each["tpr_at_fpr"][_FPR]["tpr"] for each in found]
                ),
                "epsilon": _moments([each["epsilon_lower_bound"]["epsilon"] for each in found]),
            }
    return moments


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


def are_grouped(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether anywhere a score is that of several records together."""
    return any("evaluation_records" in row["n"] for row in rows)


def attack_of(best: dict[str, Any]) -> str:
    """Return the name of a family's best attack without the reading of its scores."""
    return str(best["attack"]).rsplit("/", 1)[0]


def on_canaries(row: Mapping[str, Any], family: str) -> dict[str, Any] | None:
    """Return what the best attack of `family` on ordinary known records found of canaries."""
    attack = row.get("attacks", {}).get(attack_of(row["best"][family]), {})
    found: dict[str, Any] | None = attack.get("canaries")
    return found


def canary_cells(rows: Sequence[dict[str, Any]]) -> list[list[Cell]]:
    """Return one line a defense and family, under `CANARY_TITLES`.

    No lines where no canaries were planted.
    """
    lines = []
    for defense, group in _by_defense(rows):
        families = [f for f in get_args(Family) if all(f in row["best"] for row in group)]
        for i, family in enumerate(families):
            found = [each for row in group if (each := on_canaries(row, family))]
            if len(found) < len(group):
                continue
            name, others = _one_of(attack_of(row["best"][family]) for row in group)
            seeds = "" if len(group) == 1 else f"{len(group)} seeds"
            lines.append(
                [
                    Cell(defense, seeds) if i == 0 else Cell(""),
                    Cell(f"{family}: {name}{others}"),
                    _quantity(found, "auc").cell(),
                    _low_fpr(found),
                    _low_fpr(found, "0.1"),
                    _epsilon([each["epsilon_lower_bound"] for each in found]),
                ]
            )
    return lines


def canary_words(rows: Sequence[dict[str, Any]]) -> str:
    """Return what the figures of `canary_cells` are of."""
    found = [each for row in rows for f in row["best"] if (each := on_canaries(row, f))]
    counts = sorted({each["members"] + each["non_members"] for each in found})
    twins = any(each["copies"] for each in found)
    grouped = any(each.get("copies_grouped") for each in found)  # older reports do not say
    copies = ", and beside each of these a near copy of it" if twins else ""
    copies += " (of which the defense is told)" if grouped else ""
    both = ", of a record and its copy together" if twins else ""
    deltas = sorted({each["epsilon_lower_bound"]["delta"] for each in found})
    delta = " or ".join(np.format_float_scientific(d, trim="-", exp_digits=1) for d in deltas)
    several = len({row["seed"] for row in rows}) > 1
    mean = " (here the mean of such bounds, one a seed)" if several else ""
    return (
        f"{' or '.join(map(str, counts))} canaries got a wrong label, and a coin each put about "
        f"half of them into training{copies}. Shares in percent. ε at least: by each line alone, "
        "with 95 % confidence, training like this gives differential privacy with no smaller "
        f"epsilon (delta = {delta}){both}{mean}."
    )


def _by_defense(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["defense"], []).append(row)
    return list(groups.items())


def _quantity(rows: Sequence[dict[str, Any]], name: str) -> Quantity:
    low, high = rows[0][f"{name}_interval"]
    return Quantity(tuple(row[name] for row in rows), (low, high))


def _low_fpr(bests: Sequence[dict[str, Any]], fpr: str = _FPR) -> Cell:
    points = [best["tpr_at_fpr"][fpr] for best in bests]
    if not all(point["resolved"] for point in points):
        needed = max(point["needed_non_members"] for point in points)
        return Cell("unresolved", f"needs {needed} non-members")
    low, high = points[0]["interval"]
    return Quantity(tuple(point["tpr"] for point in points), (low, high)).cell()


def _attack_cell(family: str, bests: Sequence[dict[str, Any]], seconds: float | None) -> Cell:
    """Name the family's best attack and what it cost: queries a record, time of the family."""
    name, others = _one_of(best["attack"].replace("/", ", ") for best in bests)
    inside = " (white-box)" if any(best["access"] == "gradient" for best in bests) else ""
    queries = fmean(best["queries_per_record"] for best in bests)
    cost = f"{queries:.3g} {'query' if queries == 1 else 'queries'}"
    return Cell(f"{family}: {name}{inside}{others}", f"{cost}{_duration(seconds)}")


def _one_of(attacks: Iterable[str]) -> tuple[str, str]:
    """Return the first name in words, and how many others there are."""
    names = list(dict.fromkeys(attacks))
    others = "" if len(names) == 1 else f" (or {len(names) - 1} other)"
    return names[0].replace("_", " "), others


def _epsilon(bounds: Sequence[dict[str, Any]]) -> Cell:
    values = [bound["epsilon"] for bound in bounds]
    if len(values) > 1:
        return Cell(f"{fmean(values):.2f}", f"± {stdev(values):.2f}")
    return Cell(f"{values[0]:.2f}", f"{bounds[0]['correct']} of {bounds[0]['guesses']} guesses")


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
