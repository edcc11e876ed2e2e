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
from selena.experiments.paper.plots import Point, Value, draw_worst_case
from selena.experiments.paper.runs import Tell
from selena.experiments.paper.task import PaperTask
from selena.experiments.paper.worst_case_figures import (
    ATTACKS,
    DELTA,
    figures,
    resolved_fpr,
)
from selena.experiments.paper.worst_case_pool import Arena, found, train_pool
from selena.experiments.paper.worst_case_tuning import (
    GIVEN_UP,
    TOLERANCE,
    Tuned,
    candidates,
    tune,
    tuning_accuracy,
)
from selena.experiments.pipeline import RunSettings, cases
from selena.experiments.results import make_workspace
from selena.reports.table import Cell, percent
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

    def candidates(self, dataset: Dataset, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the settings to try for one defense, each with the resulting defense."""
        plan, _ = self.plan_of(dataset)
        settings: Mapping[str, Any] = self.task.scale.defense_settings
        return candidates(name, plan, dataset, self.sizes.trials, settings)

    def workspace(self, runs: Path, progress: Progress | None = None) -> Workspace:
        """Return the workspace that keeps finished models."""
        return make_workspace(runs, RunSettings(device=self.task.device, workers=1), progress)


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
            tried = [defense for _, defense in worst.candidates(dataset, name)]
            trials = [
                _total(defense_trainings(each, len(arena.base), len(arena.validation)))
                for each in tried
            ]
            kept = max(found(each, arena, workspace) for each in tried)
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
    for name in worst.defenses:
        worst.candidates(dataset, name)  # to find errors now, not after hours
    rows, sizes = [], worst.sizes
    for seed in worst.task.seeds:
        arena = worst.arena(dataset, seed)
        target = worst.target
        if target is None:
            ((_, undefended),) = worst.candidates(dataset, "undefended")
            target = tuning_accuracy(undefended, arena, workspace) - GIVEN_UP
        for name in worst.defenses:
            tuned = tune(worst.candidates(dataset, name), arena, target, workspace)
            answers = train_pool(tuned.defense, arena, workspace)
            row = {
                "defense": name,
                "seed": seed,
                **_tuning(tuned, target),
                "test_accuracy": fmean(answers.accuracies),
                "test_accuracy_sd": stdev(answers.accuracies),
                "attacks": figures(answers, arena, sizes.fpr),
            }
            rows.append(row)
            tell(f"{name}, seed {seed}: {_news(row)}")
    return _document(worst, dataset, rows, command)


def _tuning(tuned: Tuned, target: float) -> dict[str, Any]:
    return {
        "setting": dict(tuned.chosen.settings),
        "target": target,
        "tuning_accuracy": tuned.chosen.accuracy,
        "meets_target": tuned.meets_target,
        "trials": [asdict(trial) for trial in tuned.trials],
    }


def _news(row: Mapping[str, Any]) -> str:
    best = max(row["attacks"][attack][kind]["tpr"] for attack in ATTACKS for kind in KINDS)
    return f"test accuracy {percent(row['test_accuracy'])}, worst TPR {percent(best)}"


def _document(
    worst: WorstCase, dataset: Dataset, rows: list[dict[str, Any]], command: str
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
    by_name = {name: [r for r in rows if r["defense"] == name] for name in worst.defenses}
    return Document(
        name="worst-case",
        title=f"The worst case on {dataset.name}",
        table=TextTable(TITLES, [line for each in by_name.values() for line in lines(each)]),
        figure=draw_worst_case(
            [_point(each) for each in by_name.values()],
            title=f"Privacy in the worst case against utility, {dataset.name}",
            fpr=worst.sizes.fpr,
        ),
        notes=[_caption(worst), *notes(worst.task)[1:]],
        settings=settings,
        data={
            "schema": SCHEMA,
            "command": command,
            "rows": rows,
            "seeds": list(worst.task.seeds),
            "reproduction": settings,
        },
    )


def lines(rows: Sequence[Mapping[str, Any]]) -> list[list[Cell]]:
    """Return one line of cells per attack for the seeds of one defense."""
    settings = [", ".join(f"{k} = {v}" for k, v in row["setting"].items()) for row in rows]
    setting = "; ".join(dict.fromkeys(settings))
    missed = "" if all(row["meets_target"] for row in rows) else " (target missed)"
    accuracy = Cell(
        percent(fmean(row["test_accuracy"] for row in rows)) + missed,
        f"± {percent(_spread(rows))}",
    )
    name = rows[0]["defense"]
    return [
        [Cell(name), Cell(attack), Cell(setting or "–"), accuracy]
        + [_cell([row["attacks"][attack][kind] for row in rows]) for kind in KINDS]
        for attack in ATTACKS
    ]


def _spread(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the standard deviation over seeds, or over the models of a single one."""
    if len(rows) == 1:
        return float(rows[0]["test_accuracy_sd"])
    return stdev(float(row["test_accuracy"]) for row in rows)


def _cell(found_by_seed: Sequence[Mapping[str, Any]]) -> Cell:
    tprs = [one["tpr"] for one in found_by_seed]
    auc = percent(fmean(one["auc"] for one in found_by_seed))
    if len(tprs) > 1:
        return Cell(f"{percent(fmean(tprs))} / {auc}", f"± {percent(stdev(tprs))}")
    low, high = found_by_seed[0]["tpr_interval"]
    return Cell(f"{percent(tprs[0])} / {auc}", f"{percent(low)}–{percent(high)}")


def _point(rows: Sequence[Mapping[str, Any]]) -> Point:
    """Return accuracy, and the mean over seeds of the highest TPR of any attack on any kind."""
    means = {
        (attack, kind): fmean(row["attacks"][attack][kind]["tpr"] for row in rows)
        for attack in ATTACKS
        for kind in KINDS
    }
    attack, kind = max(means, key=lambda each: means[each])
    tpr = 100 * means[attack, kind]
    if len(rows) == 1:
        low, high = (100 * end for end in rows[0]["attacks"][attack][kind]["tpr_interval"])
    else:
        sd = 100 * stdev(row["attacks"][attack][kind]["tpr"] for row in rows)
        low, high = tpr - sd, tpr + sd
    accuracy = 100 * fmean(row["test_accuracy"] for row in rows)
    spread = 100 * _spread(rows)
    return Point(
        rows[0]["defense"],
        utility=Value(accuracy, accuracy - spread, accuracy + spread),
        leakage=Value(tpr, low, high),
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
