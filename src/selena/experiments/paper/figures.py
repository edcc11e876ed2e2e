"""Computes the quantities of tables and drawings from rows of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from selena.experiments.paper.plots import Value
from selena.experiments.paper.task import PaperTask
from selena.reports.table import (
    Cell,
    Quantity,
    accuracy_quantity,
    figure_quantity,
    figures_by_row,
)


def drawn(quantity: Quantity) -> Value:
    """Return a quantity in percent, with its interval or its standard deviation over seeds."""
    values = [100 * value for value in quantity.values]
    if len(values) == 1:
        low, high = quantity.interval
        return Value(values[0], 100 * low, 100 * high)
    mean, spread = fmean(values), stdev(values)
    return Value(mean, mean - spread, mean + spread)


@dataclass(frozen=True)
class ModelRow:
    """One model of a figure: how useful it is, and the best direct attack on it.

    Attributes:
        train_accuracy: on its training records, in [0, 1].
        test_accuracy: on evaluation non-members, in [0, 1].
        attack_accuracy: balanced accuracy of the best direct attack, in [0, 1].
    """

    train_accuracy: Quantity
    test_accuracy: Quantity
    attack_accuracy: Quantity

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ModelRow:
        """Return the model that a row of `figure4.json` or of `ablation.json` describes.

        Rows of `selena-figure4/1` hold their attack under another key.
        """
        attack = (
            accuracy_quantity([row["direct"]], "balanced_accuracy")
            if "direct" in row
            else attack_quantity([row], "direct")
        )
        train, test = (accuracy_quantity([row], f"{part}_accuracy") for part in ("train", "test"))
        return cls(train, test, attack)

    @property
    def utility(self) -> Value:
        """Test accuracy in percent."""
        return drawn(self.test_accuracy)

    @property
    def leakage(self) -> Value:
        """Accuracy of the attack in percent."""
        return drawn(self.attack_accuracy)

    def cells(self) -> list[Cell]:
        """Return the three figures as cells of a table."""
        return [
            quantity.cell()
            for quantity in (self.train_accuracy, self.test_accuracy, self.attack_accuracy)
        ]


def attack_quantity(rows: Sequence[Mapping[str, Any]], family: str | None = None) -> Quantity:
    """Return the attack accuracy per row, over all families or of one."""
    return figure_quantity(figures_by_row(rows, "balanced_accuracy", family))


def quantity_on_evaluation(rows: Sequence[Mapping[str, Any]]) -> Quantity:
    """Return the accuracy of the best attack on evaluation records.

    This is the paper's convention, which is biased upwards.
    """
    best = [
        max(
            (family["strongest_on_evaluation"] for family in row["families"].values()),
            key=lambda each: float(each["balanced_accuracy"]),
        )
        for row in rows
    ]
    return accuracy_quantity(best, "balanced_accuracy")


def notes(task: PaperTask) -> list[str]:
    """Return the notes of every reproduction: intervals, scale, synthetic data."""
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
