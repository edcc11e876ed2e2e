"""Rows of results as the cells of one table, and their means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any, get_args

import numpy as np

from selena.auditing.figure import EPSILON, Figure, figures_of, fpr_of, tpr_metric
from selena.auditing.verdict import Verdict, over_seeds
from selena.metrics.low_fpr import RESOLVED
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
_LOW = tpr_metric(0.01)
AttackSeconds = Mapping[tuple[str, int], Mapping[str, float]]
"""Seconds of each attack by its name, by defense and seed.

Attacks that are fitted together share that time equally. Answers and an attacker's networks that
several attacks use count for the first of them.
"""

FEW = "†"
"""Marks a TPR whose interval is wide because few false positives are allowed."""


@dataclass(frozen=True)
class Cell:
    """A figure and its spread.

    Attributes:
        text: the figure.
        spread: its 95 % interval, or mean and standard deviation over seeds; may be empty.
        by: the attack of the figure, if it is not the one named in the line.
    """

    text: str
    spread: str = ""
    by: str = ""


@dataclass(frozen=True)
class Quantity:
    """Values of one figure, one per seed, and the interval of the first.

    Attributes:
        values: one per seed.
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


def accuracy_quantity(rows: Sequence[Mapping[str, Any]], name: str) -> Quantity:
    """Return the accuracy with key `name`, such as "test_accuracy", one value per row."""
    low, high = rows[0][f"{name}_interval"]
    return Quantity(tuple(row[name] for row in rows), (low, high))


def figure_quantity(figures: Sequence[Figure]) -> Quantity:
    """Return a figure, one value per seed, with the interval of the first."""
    return Quantity(tuple(figure.value for figure in figures), figures[0].interval)


def figure_cell(figures: Sequence[Figure], line: Sequence[str] = ()) -> Cell:
    """Return the cell of a figure, one value per seed.

    A TPR at a FPR for which there are too few non-members is marked with `FEW`.

    Args:
        figures: one per seed.
        line: the attacks named in the cell's line, one per seed.
    """
    cell = figure_quantity(figures).cell()
    few = "" if all(figure.resolved for figure in figures) else f" {FEW}"
    names = [figure.name for figure in figures]
    by = "" if not line or names == list(line) else attack_words(*_one_of(names))
    return Cell(cell.text + few, cell.spread, by)


def few_words(figures: Iterable[Figure]) -> str:
    """Return the explanation of `FEW`; empty if no figure has this mark."""
    needed = {figure.needed_non_members for figure in figures if not figure.resolved}
    if not needed:
        return ""
    return (
        f"{FEW}: fewer than {RESOLVED} false positives are allowed; "
        f"{max(needed):,} non-members would resolve this rate."
    )


def time_words(seconds: AttackSeconds | None) -> str:
    """Return the explanation of the times of `table_cells`; empty if it shows none."""
    if not any((seconds or {}).values()):
        return ""
    return (
        "A time is that of the named attack alone; answers and networks that several attacks use "
        "count for the first of them."
    )


def figures_by_row(
    rows: Iterable[Mapping[str, Any]], metric: str, family: str | None = None
) -> list[Figure]:
    """Return one figure per row, over all families or of one."""
    return [figures_of(row, family)[metric] for row in rows]


def summarize_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean, standard deviation and n over seeds, one entry per defense."""
    entries = []
    for defense, repeats in _by_defense(rows):
        entry: dict[str, Any] = {"defense": defense, "seeds": [row["seed"] for row in repeats]}
        for name in ("train_accuracy", "test_accuracy"):
            entry[name] = _moments([row[name] for row in repeats])
        entry["verdict"] = over_seeds([Verdict.from_json(row["verdict"]) for row in repeats]).level
        if all(row["figures"] for row in repeats):
            entry["figures"] = _metric_moments(repeats, None)
        entry["families"] = {
            family: _metric_moments(repeats, family) for family in repeats[0]["families"]
        }
        canaries = _canary_moments(repeats)
        if canaries:
            entry["canaries"] = canaries
        entries.append(entry)
    return entries


def _metric_moments(repeats: Sequence[Mapping[str, Any]], family: str | None) -> dict[str, Any]:
    first = figures_of(repeats[0], family)
    return {
        metric: _moments([figure.value for figure in figures_by_row(repeats, metric, family)])
        for metric in first
        if all(metric in figures_of(row, family) for row in repeats)
    }


def _canary_moments(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, by family, the canary figures of its strongest attacks, if all rows have some."""
    moments = {}
    for family in repeats[0]["families"]:
        if all(has_canaries(row, family) for row in repeats):
            moments[family] = {
                "auc": _moments([on_canaries(row, family, "auc")["auc"] for row in repeats]),
                **{
                    _LOW: _moments(
                        [
                            on_canaries(row, family, _LOW)["tpr_at_fpr"][_FPR]["tpr"]
                            for row in repeats
                        ]
                    )
                },
                EPSILON: _moments(
                    [figure.value for figure in figures_by_row(repeats, EPSILON, family)]
                ),
            }
    return moments


def table_cells(
    rows: Sequence[dict[str, Any]], seconds: AttackSeconds | None = None
) -> list[list[Cell]]:
    """Return one line of cells per defense and family, under `TITLES`.

    Each line names the attack with the highest accuracy, and its cost alone. An AUC or a TPR of
    another attack names that attack.

    Args:
        rows: results as `selena run` has them; rows of one defense are its seeds.
        seconds: see `AttackSeconds`; without them no time is shown.
    """
    lines = []
    for defense, repeats in _by_defense(rows):
        for i, family in enumerate(f for f in get_args(Family) if f in repeats[0]["families"]):
            deciding = figures_by_row(repeats, "balanced_accuracy", family)
            names = [figure.name for figure in deciding]
            head = [Cell("")] * 3
            if i == 0:
                seeds = "" if len(repeats) == 1 else f"{len(repeats)} seeds"
                head = [
                    Cell(defense, seeds),
                    accuracy_quantity(repeats, "train_accuracy").cell(),
                    accuracy_quantity(repeats, "test_accuracy").cell(),
                ]
            lines.append(
                [
                    *head,
                    _attack_cell(family, deciding, _times(repeats, deciding, seconds or {})),
                    figure_cell(deciding),
                    figure_cell(figures_by_row(repeats, "auc", family), names),
                    figure_cell(figures_by_row(repeats, _LOW, family), names),
                ]
            )
    return lines


def table_figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return the figures of `table_cells` that may be marked with `FEW`."""
    return [figures_of(row, family)[_LOW] for row in rows for family in row["families"]]


def have_subjects(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether any score is that of several records of one subject."""
    return any("evaluation_records" in row["n"] for row in rows)


def has_canaries(row: Mapping[str, Any], family: str) -> bool:
    """Return whether the attacks of `family` were scored on canaries."""
    return EPSILON in row["families"][family]["figures"]


def on_canaries(row: Mapping[str, Any], family: str, metric: str) -> dict[str, Any]:
    """Return the canary figures of the attack of `family` that is strongest in `metric`."""
    found: dict[str, Any] = row["attacks"][figures_of(row, family)[metric].name]["canaries"]
    return found


def canary_cells(rows: Sequence[dict[str, Any]]) -> list[list[Cell]]:
    """Return one line per defense and family, under `CANARY_TITLES`.

    There are no lines without canaries.
    """
    lines = []
    for defense, repeats in _by_defense(rows):
        families = [f for f in get_args(Family) if all(f in row["families"] for row in repeats)]
        for i, family in enumerate(families):
            if not all(has_canaries(row, family) for row in repeats):
                continue
            bounds = figures_by_row(repeats, EPSILON, family)
            names = [figure.name for figure in bounds]
            seeds = "" if len(repeats) == 1 else f"{len(repeats)} seeds"
            lines.append(
                [
                    Cell(defense, seeds) if i == 0 else Cell(""),
                    Cell(f"{family}: {attack_words(*_one_of(names))}"),
                    _canary_cell(repeats, family, "auc", names),
                    _canary_cell(repeats, family, _LOW, names),
                    _canary_cell(repeats, family, tpr_metric(0.1), names),
                    _epsilon(
                        [
                            on_canaries(row, family, EPSILON)["epsilon_lower_bound"]
                            for row in repeats
                        ]
                    ),
                ]
            )
    return lines


def _canary_cell(
    repeats: Sequence[Mapping[str, Any]], family: str, metric: str, line: Sequence[str]
) -> Cell:
    found = []
    for row in repeats:
        of = figures_of(row, family)[metric]
        planted = on_canaries(row, family, metric)
        if metric == "auc":
            value, interval, more = planted["auc"], planted["auc_interval"], {}
        else:
            point = planted["tpr_at_fpr"][str(fpr_of(metric))]
            value, interval = point["tpr"], point["interval"]
            more = {name: point[name] for name in ("resolved", "needed_non_members")}
        found.append(replace(of, value=value, interval=tuple(interval), **more))
    return figure_cell(found, line)


def canary_words(rows: Sequence[dict[str, Any]]) -> str:
    """Return the explanation of the figures of `canary_cells`."""
    found = [
        on_canaries(row, family, EPSILON)
        for row in rows
        for family in row["families"]
        if has_canaries(row, family)
    ]
    counts = sorted({each["members"] + each["non_members"] for each in found})
    twins = any(each["copies"] for each in found)
    grouped = any(each["copies_grouped"] for each in found)
    copies = ", and beside each of these a near copy of it" if twins else ""
    copies += " (of which the defense is told)" if grouped else ""
    both = ", of a record and its copy together" if twins else ""
    deltas = sorted({each["epsilon_lower_bound"]["delta"] for each in found})
    delta = " or ".join(np.format_float_scientific(d, trim="-", exp_digits=1) for d in deltas)
    several = len({row["seed"] for row in rows}) > 1
    mean = " (here the mean of such bounds, one per seed)" if several else ""
    return (
        f"{' or '.join(map(str, counts))} canaries got a wrong label, and one coin per canary put "
        f"about half of them into training{copies}. Shares in percent. ε at least: by each line "
        "alone, with 95 % confidence, training like this gives differential privacy with no "
        f"smaller epsilon (delta = {delta}){both}{mean}."
    )


def _by_defense(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["defense"], []).append(row)
    return list(found.items())


def attack_words(name: str, others: int = 0) -> str:
    """Return an attack's name in words, and the number of other attacks beside it."""
    words = name.replace("/", ", ").replace("_", " ")
    return f"{words} (or {others} other)" if others else words


def _times(
    repeats: Sequence[Mapping[str, Any]], bests: Sequence[Figure], seconds: AttackSeconds
) -> list[float]:
    """Return the seconds of the best attack of each seed that has some."""
    pairs = zip(repeats, bests, strict=True)
    found = (seconds.get((row["defense"], row["seed"]), {}).get(best.name) for row, best in pairs)
    return [each for each in found if each is not None]


def _attack_cell(family: str, bests: Sequence[Figure], seconds: Sequence[float]) -> Cell:
    """Name the family's best attack, its queries per record, and its mean time."""
    inside = " (white-box)" if any(best.access == "gradient" for best in bests) else ""
    name, others = _one_of(best.attack for best in bests)
    queries = fmean(best.queries_per_record for best in bests)
    cost = f"{queries:.3g} {'query' if queries == 1 else 'queries'}"
    words = attack_words(name) + inside + (f" (or {others} other)" if others else "")
    time = f", {_duration(fmean(seconds))}" if seconds else ""
    return Cell(f"{family}: {words}", f"{cost}{time}")


def _one_of(attacks: Iterable[str]) -> tuple[str, int]:
    """Return the first name, and the number of other names."""
    names = list(dict.fromkeys(attacks))
    return names[0], len(names) - 1


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


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
