"""SELENA with other numbers of sub-models (K) and of non-models per record (L).

Tang et al., USENIX Security 2022, take K = 25 and L = 10, a share of 0.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selena.errors import ConfigError
from selena.experiments.paper.budget import PlanLine, plan_lines
from selena.experiments.paper.document import Document, TextTable
from selena.experiments.paper.figures import direct_cells, direct_course, notes
from selena.experiments.paper.plots import Course, draw_courses
from selena.experiments.paper.runs import Tell, run_items
from selena.experiments.paper.task import Item, PaperTask
from selena.experiments.pipeline import cases
from selena.experiments.results import collect
from selena.reports.runs import ModelRuns
from selena.reports.table import Cell
from selena.workspace import Progress

SCHEMA = "selena-ablation/2"
SHARE = 0.4
TITLES = ("Model", "K", "L", "Train acc.", "Test acc.", "Best direct attack")
_UNDEFENDED = (0, 0)

Size = tuple[int, int]
"""K and L."""


def plan(task: PaperTask, runs: Path) -> list[PlanLine]:
    """Return the work ahead."""
    return plan_lines(list(_items(task).values()), task, runs)


def run(
    task: PaperTask,
    runs: Path,
    *,
    command: str,
    progress: Progress | None = None,
    tell: Tell = lambda news: None,
) -> Document:
    """Train and attack what `runs` does not hold yet, and return both sweeps."""
    wanted = _items(task)
    found = run_items(list(wanted.values()), task, runs, progress=progress, tell=tell)
    rows = {
        size: ModelRuns(item.label, tuple(collect([one]).runs))
        for (size, item), one in zip(wanted.items(), found, strict=True)
    }
    over_k, over_l = _sweeps(task)
    dataset, settings = task.load().name, task.describe()
    everything = collect(found).to_json(command)
    del everything["summary"]  # a mean over seeds; here a defense has many sizes instead
    return Document(
        name="ablation",
        title=f"SELENA's K and L on {dataset}",
        table=TextTable(TITLES, [_cells(size, row) for size, row in rows.items()]),
        figure=draw_courses(
            [
                (f"K, with L = {SHARE} K", _course(rows, over_k, axis=0)),
                (f"L, with K = {over_l[0][0]}", _course(rows, over_l, axis=1)),
            ],
            title=f"SELENA's K and L, {dataset}",
            what="SELENA",
            levels="undefended",
            marker="o",
        ),
        notes=[_CAPTION, *notes(task)],
        settings=settings,
        data={
            **everything,
            "schema": SCHEMA,
            "rows": [{**row.first, "k": k, "l": l} for (k, l), row in rows.items()],  # noqa: E741
            "seeds": list(task.seeds),
            "reproduction": settings,
        },
    )


_CAPTION = (
    "All figures in percent. K sub-models, of which L do not train on a given record. Best direct "
    "attack: balanced accuracy on records that nothing was fitted on, of the attack that did best "
    "on known records; 50 is a random guess. Dashed: the undefended model."
)


def _sweeps(task: PaperTask) -> tuple[list[Size], list[Size]]:
    """Return the sizes over K and those over L, smallest first."""
    (case, *_) = cases(task.settings(["selena"]), 0)
    k = case.build_plan(task.load()).n_submodels
    over_k = [(each, round(SHARE * each)) for each in sorted(task.scale.ablation_k)]
    over_l = [(k, each) for each in sorted(task.scale.ablation_l)]
    if not over_k or not over_l:
        raise ConfigError("The ablation needs at least one K and one L.")
    return over_k, over_l


def _items(task: PaperTask) -> dict[Size, Item]:
    """Return the items to train, by size: the undefended model, then each size once."""
    if len(task.seeds) != 1:
        raise ConfigError("The ablation compares sizes, not seeds: give one seed.")
    (seed,) = task.seeds
    (undefended,) = cases(task.settings(["undefended"]), seed)
    items = {_UNDEFENDED: Item("undefended", undefended, ("direct",), bundle="undefended")}
    over_k, over_l = _sweeps(task)
    for k, l in dict.fromkeys([*over_k, *over_l]):  # noqa: E741
        (case,) = cases(task.settings(["selena"], n_submodels=k, n_nonmodels=l), seed)
        label = f"selena, K={k}, L={l}"
        items[k, l] = Item(label, case, ("direct",), bundle=label)
    return items


def _course(rows: dict[Size, ModelRuns], sweep: Sequence[Size], *, axis: int) -> Course:
    shown = [rows[size] for size in sweep]
    return direct_course([size[axis] for size in sweep], shown, rows[_UNDEFENDED])


def _cells(size: Size, model: ModelRuns) -> list[Cell]:
    name, *numbers = ("undefended", "–", "–") if size == _UNDEFENDED else ("selena", *size)
    return [*map(Cell, map(str, (name, *numbers))), *direct_cells(model)]
