"""Table 2: defenses against families of attacks, beside the published figures.

Tang et al., USENIX Security 2022, Table 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selena.experiments.paper.budget import PlanLine, plan_lines
from selena.experiments.paper.document import Document, TextTable
from selena.experiments.paper.figures import drawn, notes
from selena.experiments.paper.plots import Point, draw_tradeoff
from selena.experiments.paper.published import Published, published, real_name
from selena.experiments.paper.runs import Tell, run_items
from selena.experiments.paper.task import Item, PaperTask
from selena.experiments.pipeline import cases
from selena.experiments.results import collect
from selena.reports.runs import ModelRuns, Run
from selena.reports.table import Cell
from selena.types import Family
from selena.workspace import Progress

DEFENSES = ("undefended", "memguard", "adversarial_regularization", "selena")
FAMILIES: tuple[Family, ...] = ("direct", "label-only", "adaptive")
TITLES = (
    "Defense",
    "Source",
    "Train acc.",
    "Test acc.",
    "Direct",
    "Label-only",
    "Adaptive",
    "Best",
    "Best on evaluation",
)
_NOTHING = "–"


def items(task: PaperTask) -> list[Item]:
    """Return the items to train and attack: every defense with every seed."""
    settings = task.settings(DEFENSES)
    return [
        Item(
            f"{case.defense}, seed {seed}",
            case,
            _attacks(task, case.defense),
            bundle=f"seed {seed}",
        )
        for seed in task.seeds
        for case in cases(settings, seed)
    ]


def _attacks(task: PaperTask, defense: str) -> tuple[str, ...]:
    label_only = task.label_only
    if defense == "memguard":
        # MemGuard gives no gradients, and its labels are those of the undefended model.
        label_only = tuple(name for name in label_only if name != "boundary")
    # Adaptive attacks know how SELENA works, and no other defense.
    return ("direct", *label_only, *(("adaptive",) if defense == "selena" else ()))


def plan(task: PaperTask, runs: Path) -> list[PlanLine]:
    """Return the work ahead."""
    return plan_lines(items(task), task, runs)


def run(
    task: PaperTask,
    runs: Path,
    *,
    command: str,
    progress: Progress | None = None,
    tell: Tell = lambda news: None,
) -> Document:
    """Train and attack what `runs` does not hold yet, and return the table."""
    found = run_items(items(task), task, runs, progress=progress, tell=tell)
    results = collect(found)
    dataset = task.load().name
    paper = published(dataset)
    settings = task.describe()
    return Document(
        name="table2",
        title=f"Table 2 on {dataset}",
        table=TextTable(TITLES, lines(results.runs, dataset)),
        figure=draw_tradeoff(
            [_point(_of(results.runs, name), paper.get(name)) for name in DEFENSES],
            title=f"Privacy against utility, {dataset}",
            published_label=_published_label(dataset),
        ),
        notes=[_CAPTION, *_about_images(task), *notes(task), *_about_published(dataset)],
        settings=settings,
        data={
            **results.to_json(command),
            "table": "table2",
            "seeds": list(task.seeds),
            "reproduction": settings,
            "paper": {
                "dataset": real_name(dataset),
                "defenses": {name: line.to_json() for name, line in paper.items()},
            },
        },
    )


_CAPTION = (
    "All figures in percent. Direct, label-only, adaptive: balanced accuracy of the best attack of "
    "the family on records that nothing was fitted on; 50 is a random guess. It is the one that "
    "did best on known records, and so is Best over the families. Best on evaluation is chosen on "
    "the scored records, the convention of the paper: biased upwards. Adaptive attacks are run "
    "against SELENA alone: the attacker's own Split-AI, as in the paper, and indirect queries, "
    "which the paper does not count."
)


def lines(runs: Sequence[Run], dataset: str) -> list[list[Cell]]:
    """Return one line of cells per defense, followed by the paper's line if there is one.

    Args:
        runs: results; runs of one defense are its seeds.
        dataset: the data set's name.
    """
    found = []
    for name in DEFENSES:
        found.append(_our_line(_of(runs, name)))
        if name in published(dataset):
            label = _published_label(dataset)
            found.append(_published_line(name, published(dataset)[name], label))
    return found


def _our_line(model: ModelRuns) -> list[Cell]:
    accuracies = [model.accuracy(f"{part}_accuracy").cell() for part in ("train", "test")]
    families = [
        model.attack_accuracy(family).cell() if family in model.families else Cell(_NOTHING)
        for family in FAMILIES
    ]
    overall = [model.attack_accuracy().cell(), model.accuracy_on_evaluation().cell()]
    return [Cell(model.label), Cell("this run"), *accuracies, *families, *overall]


def _published_line(name: str, line: Published, label: str) -> list[Cell]:
    def cell(figure: str) -> Cell:
        value = getattr(line, figure)
        if value is None:
            return Cell(_NOTHING)
        return Cell(str(value), "exact" if figure in line.exact else "")

    # The paper's single best figure is compared with both of ours.
    names = ("train_accuracy", "test_accuracy", "direct", "label_only", "adaptive", "best", "best")
    return [Cell(name), Cell(label), *map(cell, names)]


def _point(model: ModelRuns, line: Published | None) -> Point:
    return Point(
        model.label,
        utility=drawn(model.accuracy("test_accuracy")),
        leakage=drawn(model.attack_accuracy()),
        published=(line.test_accuracy, line.best) if line else None,
    )


def _published_label(dataset: str) -> str:
    real = "" if dataset == real_name(dataset) else f", real {real_name(dataset).capitalize()}"
    return f"paper (approximate){real}"


def _about_published(dataset: str) -> list[str]:
    if not published(dataset):
        return [f"The paper has no figures for {dataset}."]
    found = [
        "Paper (approximate): Table 2 of Tang et al., USENIX Security 2022; these figures may be "
        "off in the last digit, except those marked exact, which the authors' code states too."
    ]
    if dataset != real_name(dataset):
        found.append(
            f"The paper's figures are for the real {real_name(dataset).capitalize()}, not for its "
            "synthetic stand-in: they stand here for orientation, not as a target."
        )
    return found


def _about_images(task: PaperTask) -> list[str]:
    if "boundary" not in task.label_only:
        return []
    return [
        "Label-only counts distances to the decision boundary by Carlini and Wagner, as the paper "
        "does; they read gradients, which MemGuard does not answer. Its labels, and so these "
        "distances, are those of the undefended model."
    ]


def _of(runs: Sequence[Run], defense: str) -> ModelRuns:
    return ModelRuns(defense, tuple(run for run in runs if run.head.defense == defense))
