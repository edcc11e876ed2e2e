"""From rows of results to quantities that stand in a cell or in a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from selena.auditing.report import AuditReport, Best
from selena.auditing.table import Quantity
from selena.reproduce.plots import Value
from selena.reproduce.task import Task


def quantity(figures: Sequence[dict[str, Any]], name: str) -> Quantity:
    """Return the figure `name`, one value a seed, with the interval of the first."""
    low, high = figures[0][f"{name}_interval"]
    return Quantity(tuple(each[name] for each in figures), (low, high))


def drawn(quantity: Quantity) -> Value:
    """Return a quantity in percent, with its interval or its standard deviation over seeds."""
    values = [100 * value for value in quantity.values]
    if len(values) == 1:
        low, high = quantity.interval
        return Value(values[0], 100 * low, 100 * high)
    mean, spread = fmean(values), stdev(values)
    return Value(mean, mean - spread, mean + spread)


def best_of_all(report: AuditReport) -> dict[str, Any]:
    """Return the best attack over all families, chosen on known records as within a family.

    Under `strongest_on_evaluation` stands the one that did best where it is scored: the paper's
    convention, biased upwards.
    """
    best = max(map(report.best, report.families), key=lambda best: best.figures.sure_accuracy)
    strongest = max(
        map(report.strongest_on_evaluation, report.families),
        key=lambda best: best.figures.summary.balanced_accuracy,
    )
    return {**_attack(best), "strongest_on_evaluation": _attack(strongest)}


def notes(task: Task) -> list[str]:
    """Return what is to be said about every reproduction: intervals, scale, synthetic data."""
    dataset = task.load()
    several = len(task.seeds) > 1
    found = [
        f"± is the standard deviation over {len(task.seeds)} seeds, each a new split and training."
        if several
        else "In parentheses 95 % intervals: Clopper-Pearson for accuracies of the classifier, "
        "Newcombe for those of attacks; one seed."
    ]
    if not task.scale.paper_partition:
        found.append(
            f"Scale {task.scale.name}: fewer records, networks and epochs than in the paper (see "
            "the settings). It shows the order of things, not the paper's figures."
        )
    if dataset.synthetic:
        found.append(
            f"The data are synthetic ({dataset.source}): no real person stands behind a record, "
            "and what holds for them need not hold for the real set."
        )
    return found


def _attack(best: Best) -> dict[str, Any]:
    figures = best.figures.summary.to_json()
    return {
        "family": best.result.family,
        "attack": best.name,
        **{key: figures[key] for key in ("balanced_accuracy", "balanced_accuracy_interval")},
    }
