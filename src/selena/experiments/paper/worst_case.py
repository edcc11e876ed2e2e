"""The worst-case benchmark: defenses at equal accuracy, attacked on the most exposed records.

After Aerni, Zhang & Tramèr, "Evaluations of Machine Learning Privacy Defenses are Misleading",
CCS 2024: averages over ordinary records mislead, and so do comparisons at unequal accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from selena.config import merged
from selena.data.audit_pool import KINDS
from selena.environment.version import __version__
from selena.experiments.paper.budget import PlanLine, Work, defense_trainings, total
from selena.experiments.paper.document import Document, TextTable
from selena.experiments.paper.figures import notes
from selena.experiments.paper.plots import draw_worst_case
from selena.experiments.paper.runs import Tell
from selena.experiments.paper.task import PaperTask
from selena.experiments.paper.worst_case_figures import DELTA, figures, resolved_fpr
from selena.experiments.paper.worst_case_models import (
    WorstCaseModel,
    count_kept,
    fetch_models,
    pool_models,
    train_pool,
)
from selena.experiments.paper.worst_case_pool import Arena
from selena.experiments.paper.worst_case_rows import WorstCaseRow, lines, point
from selena.experiments.paper.worst_case_tuning import (
    GIVEN_UP,
    TOLERANCE,
    Candidate,
    candidates,
    tune,
    tuning_accuracy,
)
from selena.experiments.pipeline import RunSettings, cases
from selena.experiments.results import make_workspace
from selena.registry import check_installed
from selena.reports.table import percent
from selena.training.plans import Plan
from selena.types import Dataset
from selena.workspace import Progress, Workspace, check_device

SCHEMA = "selena-worst-case/1"
TITLES = ("Defense", "Attack", "Setting", "Test acc.", *(kind.capitalize() for kind in KINDS))


@dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmark, in addition to the scale.

    Attributes:
        models: models per pool, an even number from 6 on.
        ordinary: audited records that keep their label.
        canaries: audited records of each other kind.
        trials: most settings to try per defense.
        plan: changes to the plan, after those of the scale.
    """

    models: int = 64
    ordinary: int = 500
    canaries: int = 125
    trials: int = 8
    plan: dict[str, Any] = field(default_factory=dict)

    @property
    def fpr(self) -> float:
        """The reported FPR, which the scored non-members of each kind resolve."""
        return resolved_fpr(self.models // 2 * min(self.ordinary, self.canaries))


SIZES = {
    "paper": Sizes(),
    # A small network, so that some 600 trainings take minutes on one core.
    "quick": Sizes(models=8, ordinary=200, canaries=50, trials=3, plan={"hidden": [256, 128]}),
}

DEFENSES = (
    "undefended",
    "selena",
    "dp_sgd",
    "pate",
    "dmp",
    "mist",
    "hamp",
    "relaxloss",
    "convex_concave_loss",
    "dyna_noise",
    "early_stopping",
    "label_smoothing",
)
"""Defenses that are compared by default."""


@dataclass(frozen=True)
class WorstCase:
    """Settings of the comparison.

    Attributes:
        task: data set, scale and seeds.
        sizes: sizes of pools and of tuning.
        defenses: names of the defenses.
        target: the accuracy that every defense is tuned for, in [0, 1]; None for that of the
            undefended model on tuning records minus `GIVEN_UP`.
    """

    task: PaperTask
    sizes: Sizes
    defenses: tuple[str, ...] = DEFENSES
    target: float | None = None

    def plan_of(self, dataset: Dataset) -> tuple[Plan, int]:
        """Return the plan, and the number of base records."""
        changes = merged(dict(self.sizes.plan), {})
        (case,) = cases(self.task.settings(["undefended"], **changes), 0)
        return case.build_plan(dataset), case.data.sizes(dataset).members

    def arena(self, dataset: Dataset, seed: int) -> Arena:
        """Return the records of one repetition."""
        sizes, (_, members) = self.sizes, self.plan_of(dataset)
        return Arena.draw(dataset, members, sizes.models, sizes.ordinary, sizes.canaries, seed)

    def candidates(self, dataset: Dataset, name: str) -> list[Candidate]:
        """Return the settings to try for one defense, each with its trial."""
        plan, _ = self.plan_of(dataset)
        settings: Mapping[str, Any] = self.task.scale.defense_settings
        return candidates(name, plan, dataset, self.sizes.trials, settings)

    def workspace(self, runs: Path, progress: Progress | None = None) -> Workspace:
        """Return the workspace that keeps finished models."""
        settings = RunSettings(device=self.task.device, machines=self.task.machines, workers=1)
        return make_workspace(runs, settings, progress)


def plan(worst: WorstCase, runs: Path) -> list[PlanLine]:
    """Return the work ahead: all trials of each defense, and the models of its pool.

    The chosen setting is known only after tuning, so a pool counts as found if one of any setting
    is.
    """
    dataset, workspace, lines = worst.task.load(), worst.workspace(runs), []
    for seed in worst.task.seeds:
        arena = worst.arena(dataset, seed)
        grown = len(arena.base) + len(arena.pool.audited) // 2 + len(arena.pool.companions) // 2
        for name in worst.defenses:
            tried = [trial.defense for _, trial in worst.candidates(dataset, name)]
            trials = [
                _total(defense_trainings(each, len(arena.base), len(arena.validation)))
                for each in tried
            ]
            pools = [pool_models(name, each, arena) for each in tried]
            kept = max(count_kept(each, arena, workspace) for each in pools)
            each = _total(defense_trainings(tried[-1], grown, len(arena.validation)))
            pool = sum([each] * (len(arena.inside) - kept), Work())
            said = f"{kept} models" if kept else ""
            lines.append(PlanLine(f"{name}, seed {seed}", sum(trials, pool), said))
    return lines


def _total(trainings: Mapping[str, Work]) -> Work:
    return total([PlanLine(name, work) for name, work in trainings.items()])


def run(
    worst: WorstCase,
    runs: Path,
    *,
    command: str,
    progress: Progress | None = None,
    tell: Tell = lambda news: None,
) -> Document:
    """Tune every defense, train and attack its pool, and return the table.

    `runs` keeps every finished model, so a stopped run resumes.
    """
    check_device(worst.task.device)
    dataset, workspace = worst.task.load(), worst.workspace(runs, progress)
    for name in worst.defenses:  # to find errors now, not after hours
        for _, trial in worst.candidates(dataset, name):
            check_installed(trial.defense)
    rows, sizes = [], worst.sizes
    for seed in worst.task.seeds:
        arena = worst.arena(dataset, seed)
        tried = {name: worst.candidates(dataset, name) for name in worst.defenses}
        ((_, undefended),) = worst.candidates(dataset, "undefended")
        fetch_models(_trials(worst, tried, undefended), arena, workspace)
        target = worst.target
        if target is None:
            target = tuning_accuracy(undefended, arena, workspace) - GIVEN_UP
        chosen = {name: tune(each, arena, target, workspace) for name, each in tried.items()}
        pools = {name: pool_models(name, chosen[name].defense, arena) for name in chosen}
        fetch_models([model for pool in pools.values() for model in pool], arena, workspace)
        for name, tuned in chosen.items():
            answers = train_pool(pools[name], arena, workspace)
            row = WorstCaseRow(
                defense=name,
                seed=seed,
                setting=dict(tuned.chosen.settings),
                target=target,
                tuning_accuracy=tuned.chosen.accuracy,
                meets_target=tuned.meets_target,
                trials=tuned.trials,
                test_accuracy=fmean(answers.accuracies),
                test_accuracy_sd=stdev(answers.accuracies),
                attacks=figures(answers, arena, sizes.fpr),
            )
            rows.append(row)
            tell(f"{name}, seed {seed}: {row.news()}")
    return _document(worst, dataset, rows, command)


def _trials(
    worst: WorstCase,
    tried: Mapping[str, Sequence[Candidate]],
    undefended: WorstCaseModel,
) -> list[WorstCaseModel]:
    """Return all trials: machines of a cluster do not wait to hear which ones are needed."""
    models = [trial for each in tried.values() for _, trial in each]
    first = [] if worst.target is not None or "undefended" in tried else [undefended]
    return [*first, *models]


def _document(
    worst: WorstCase, dataset: Dataset, rows: list[WorstCaseRow], command: str
) -> Document:
    arena = worst.arena(dataset, worst.task.seeds[0])
    settings = {
        **worst.task.describe(),
        "reference": len(arena.tuning),
        "validation": len(arena.validation),
        "test": len(arena.test),
        "sizes": asdict(worst.sizes),
        "defenses": list(worst.defenses),
        "target": worst.target,
        "version": __version__,
    }
    by_name = {name: [row for row in rows if row.defense == name] for name in worst.defenses}
    return Document(
        name="worst-case",
        title=f"The worst case on {dataset.name}",
        table=TextTable(TITLES, [line for each in by_name.values() for line in lines(each)]),
        figure=draw_worst_case(
            [point(each) for each in by_name.values()],
            title=f"Privacy in the worst case against utility, {dataset.name}",
            fpr=worst.sizes.fpr,
        ),
        notes=[_caption(worst), *notes(worst.task)[1:]],
        settings=settings,
        data={
            "schema": SCHEMA,
            "command": command,
            "rows": [asdict(row) for row in rows],
            "seeds": list(worst.task.seeds),
            "reproduction": settings,
        },
    )


def _caption(worst: WorstCase) -> str:
    sizes = worst.sizes
    target = (
        f"{percent(worst.target)} %"
        if worst.target is not None
        else f"{percent(GIVEN_UP)} points below the undefended model"
    )
    several = len(worst.task.seeds) > 1
    spread = (
        "± is the standard deviation over seeds."
        if several
        else "In parentheses the 95 % interval of the TPR, and ± of the accuracy is the standard "
        "deviation over models; one seed."
    )
    return (
        f"Each cell: TPR at {100 * sizes.fpr:g} % FPR / AUC, in percent. Each defense trains "
        f"{sizes.models} models; each in turn is the target of the others. A coin per model "
        f"decides which of {sizes.ordinary} ordinary records and {sizes.canaries} canaries of each "
        "other kind it trains on. All canaries are mislabelled; copies are trained on whenever "
        "their canary is, and nobody is told. Target accuracy on tuning records: "
        f"{target}; the strongest of at most {sizes.trials} settings that is no more than "
        f"{percent(TOLERANCE)} point below it is taken, or the most accurate one. The JSON has "
        f"the bounds on epsilon (Gaussian trade-off curve, delta = {DELTA:g}). {spread}"
    )
