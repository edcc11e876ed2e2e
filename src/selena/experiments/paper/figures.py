"""What the tables and drawings of several reproductions share."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from selena.experiments.paper.plots import Course, Value
from selena.experiments.paper.task import PaperTask
from selena.reports.runs import ModelRuns
from selena.reports.table import Cell, Quantity


def drawn(quantity: Quantity) -> Value:
    """Return a quantity in percent, with its interval or its standard deviation over seeds."""
    values = [100 * value for value in quantity.values]
    if len(values) == 1:
        low, high = quantity.interval
        return Value(values[0], 100 * low, 100 * high)
    mean, spread = fmean(values), stdev(values)
    return Value(mean, mean - spread, mean + spread)


def direct_cells(model: ModelRuns) -> list[Cell]:
    """Return train accuracy, test accuracy, and accuracy of the best direct attack as cells."""
    accuracies = [model.accuracy(f"{part}_accuracy") for part in ("train", "test")]
    return [each.cell() for each in (*accuracies, model.attack_accuracy("direct"))]


def direct_course(x: Sequence[int], models: Sequence[ModelRuns], level: ModelRuns) -> Course:
    """Return test accuracy and best direct attack of models in order, and those of `level`."""
    *utility, level_utility = (drawn(m.accuracy("test_accuracy")) for m in (*models, level))
    *leakage, level_leakage = (drawn(m.attack_accuracy("direct")) for m in (*models, level))
    return Course(x, utility, leakage, levels=(level_utility.percent, level_leakage.percent))


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
