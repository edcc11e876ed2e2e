"""Figure 4: every epoch of one undefended run, compared with SELENA's accuracy and leakage.

Tang et al., USENIX Security 2022, Figure 4: can early stopping do what SELENA does?
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from selena.attacks.signals import SignalName
from selena.auditing.report import AuditReport
from selena.auditing.run import run_audit
from selena.defenses.undefended import Undefended
from selena.environment.description import describe_environment
from selena.environment.version import __version__
from selena.errors import ConfigError
from selena.experiments.paper.budget import PlanLine, Work, defense_trainings, plan_lines
from selena.experiments.paper.document import Document, TextTable
from selena.experiments.paper.epochs import every_epoch
from selena.experiments.paper.figures import direct_cells, direct_course, notes
from selena.experiments.paper.plots import draw_courses
from selena.experiments.paper.runs import Tell, run_items
from selena.experiments.paper.task import Item, PaperTask
from selena.experiments.pipeline import RunSettings, cases
from selena.experiments.results import make_workspace
from selena.registry import build_attacks
from selena.reports.runs import ModelRuns, run_of_audit
from selena.reports.table import Cell
from selena.seeding import child_seed
from selena.workspace import Progress, Silent

SCHEMA = "selena-figure4/2"
TITLES = ("Model", "Epoch", "Train acc.", "Test acc.", "Best direct attack")
ATTACKS: tuple[str, ...] = get_args(SignalName)
"""Direct attacks without training; each epoch is attacked with all of them."""


def items(task: PaperTask) -> list[Item]:
    """Return the model whose levels are drawn."""
    (seed,) = task.seeds
    (case,) = cases(task.settings(["selena"]), seed)
    return [Item(f"selena, seed {seed}", case, ATTACKS, bundle="selena")]


def plan(task: PaperTask, runs: Path) -> list[PlanLine]:
    """Return the work ahead."""
    _check(task)
    dataset, (undefended,) = task.load(), cases(task.settings(["undefended"]), 0)
    sizes = undefended.data.sizes(dataset)
    defense = undefended.build_defense(dataset)
    work = sum(defense_trainings(defense, sizes.members, sizes.validation).values(), Work())
    return [PlanLine("undefended, every epoch", work), *plan_lines(items(task), task, runs)]


def run(
    task: PaperTask,
    runs: Path,
    *,
    command: str,
    progress: Progress | None = None,
    tell: Tell = lambda news: None,
) -> Document:
    """Train and attack what `runs` does not hold yet, and return the figure.

    The epochs' weights are kept in `runs`/artifacts until all of them are attacked.
    """
    _check(task)
    ((_, report),) = run_items(items(task), task, runs, progress=progress, tell=tell)
    rows = _epochs(task, runs, progress or Silent())
    tell(f"undefended: {len(rows)} epochs attacked")
    selena = _model("selena", report)
    dataset, settings = task.load().name, task.describe()
    lines = [*((str(epoch), model) for epoch, model in rows.items()), ("–", selena)]
    return Document(
        name="figure4",
        title=f"Figure 4 on {dataset}: early stopping",
        table=TextTable(
            TITLES, [[Cell(model.label), Cell(at), *direct_cells(model)] for at, model in lines]
        ),
        figure=draw_courses(
            [("epoch of the undefended run", direct_course([*rows], [*rows.values()], selena))],
            title=f"Early stopping, {dataset}",
            what="undefended",
            levels="SELENA",
        ),
        notes=[_CAPTION, *notes(task)],
        settings=settings,
        data={
            "schema": SCHEMA,
            "version": __version__,
            "command": command,
            "environment": describe_environment(),
            "reproduction": settings,
            "seeds": list(task.seeds),
            "rows": [{"epoch": epoch, **model.first} for epoch, model in rows.items()],
            "selena": selena.first,
        },
    )


_CAPTION = (
    "All figures in percent. Best direct attack: balanced accuracy of the best of correctness, "
    "confidence, entropy and modified entropy, chosen on known records; 50 is a random guess. "
    "Each epoch is one of the same undefended run; dashed: SELENA's two levels."
)


def _epochs(task: PaperTask, runs: Path, progress: Progress) -> dict[int, ModelRuns]:
    """Return the attacked undefended model after each epoch, from 1."""
    (seed,), dataset = task.seeds, task.load()
    (case,) = cases(task.settings(["undefended"]), seed)
    defense, plan, split = (
        case.build_defense(dataset),
        case.build_plan(dataset),
        case.split(dataset),
    )
    assert isinstance(defense, Undefended)
    attacks = build_attacks(ATTACKS, plan, dataset)
    workspace = make_workspace(runs, RunSettings(device=task.device), progress)
    rows = {}
    models = every_epoch(
        defense,
        split.train,
        split.validation,
        seed=child_seed(seed, "defense"),
        workspace=workspace,
    )
    with progress.step("Epochs", plan.training.epochs) as bar:
        for epoch, model in models:
            report = run_audit(model, split, attacks, seed=child_seed(seed, "audit"))
            rows[epoch] = _model("undefended", report)
            bar.advance()
    workspace.clear()
    return rows


def _model(name: str, report: AuditReport) -> ModelRuns:
    return ModelRuns(name, (run_of_audit(report).excerpt("direct"),))


def _check(task: PaperTask) -> None:
    if len(task.seeds) != 1:
        raise ConfigError("Figure 4 shows the course of one run: give one seed.")
