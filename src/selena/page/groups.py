"""Runs that differ in nothing but the seed stand together, under one name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, get_args

from selena.auditing.table import Quantity
from selena.page.runs import KeptBest, Run
from selena.types import Family

UNDEFENDED = "undefended"


@dataclass(frozen=True, eq=False)
class Group:
    """One defense on one data set.

    Attributes:
        label: what it is called on the page.
        runs: one a seed; the first is the one that is drawn.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of results, one a seed."""
        return [run.row for run in self.runs]

    @property
    def first(self) -> dict[str, Any]:
        """The row of the first seed."""
        return self.runs[0].row

    @property
    def families(self) -> list[str]:
        """The families that every seed was attacked with."""
        return ordered_families([family for row in self.rows for family in row["best"]])

    def headlines(self) -> list[dict[str, Any]]:
        """Return each seed's best attack over all families; empty where none was run."""
        return [row["best"][headline_family(row)] for row in self.rows if row["best"]]

    def accuracy(self, name: str) -> Quantity:
        """Return "train_accuracy" or "test_accuracy"."""
        return quantity(self.rows, name)


def quantity(figures: Sequence[dict[str, Any]], name: str) -> Quantity:
    """Return the figure `name`, one value a seed, with the interval of the first."""
    low, high = figures[0][f"{name}_interval"]
    return Quantity(tuple(each[name] for each in figures), (low, high))


def headline_family(row: dict[str, Any]) -> str:
    """Return the family whose best attack did best on known records: never on scored ones."""
    if "best_of_all" in row:
        return str(row["best_of_all"]["family"])
    families: list[str] = list(row["best"])
    return max(families, key=lambda family: _sure_accuracy(row, row["best"][family]))


def _sure_accuracy(row: dict[str, Any], best: dict[str, Any]) -> float:
    """Return the accuracy on known records less its standard error, as audits choose by it."""
    records = best.get("known_records", row["n"]["known_members"] + row["n"]["known_non_members"])
    value = best["known_accuracy"]
    return float(value - sqrt(value * (1 - value) / records))


def headline_scores(run: Run) -> KeptBest | None:
    """Return the scores behind a run's best attack over all families, if they are at hand."""
    return run.best.get(headline_family(run.row)) if run.row["best"] else None


def ordered_families(names: Sequence[str]) -> list[str]:
    """Return each name once: the library's own families first, in their order."""
    known = [family for family in get_args(Family) if family in names]
    return [*known, *sorted(set(names) - set(known))]


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Put runs of one data set, defense and settings together, whatever their seeds."""
    found: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        settings = run.manifest["settings"] if run.manifest else {}
        rest = {name: value for name, value in settings.items() if name != "seed"}
        key = (run.row["dataset"], run.row["defense"], json.dumps(rest, sort_keys=True))
        found.setdefault(key, []).append(run)
    several = len({dataset for dataset, *_ in found}) > 1
    names = [f"{defense} on {data}" if several else defense for data, defense, _ in found]
    return [
        Group(label, tuple(group))
        for label, group in zip(_distinct(names), found.values(), strict=True)
    ]


def _distinct(names: Sequence[str]) -> list[str]:
    """Number the names that stand for several settings."""
    total, seen, found = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if total[name] > 1 else name)
    return found


def baseline_of(group: Group, groups: Sequence[Group]) -> Group | None:
    """Return what `group` is compared with: the undefended model, else the first one, of its data.

    None where that is the group itself.
    """
    same = [each for each in groups if each.first["dataset"] == group.first["dataset"]]
    undefended = [each for each in same if each.first["defense"] == UNDEFENDED]
    base = (undefended or same)[0]
    return None if base is group else base
