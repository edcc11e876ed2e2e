"""Runs as tables and pages read them, grouped under one name if they differ only in their seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from selena.auditing.figure import Figure, figures_of
from selena.auditing.report import AuditReport
from selena.auditing.verdict import Verdict, over_seeds
from selena.reports.table import Quantity, accuracy_quantity, figure_quantity
from selena.types import Family


@dataclass(frozen=True)
class RunHead:
    """The part of a row that is not its audit.

    Attributes:
        defense: name of the defense, or of another model.
        seed: the seed of everything that was drawn.
        dataset: name of the records.
        synthetic: whether the records are synthetic.
        selected_on_evaluation: whether the weights were selected on evaluation data.
    """

    defense: str
    seed: int
    dataset: str
    synthetic: bool
    selected_on_evaluation: bool = False

    def row(self, report: AuditReport) -> dict[str, Any]:
        """Return the row of a model with this report, in the format `selena-run/2`."""
        return {**asdict(self), **report.to_json()}


@dataclass(frozen=True, eq=False)
class Run:
    """One row of results, with its audit and manifest if they were kept.

    Attributes:
        row: a row in the format `selena-run/2`.
        report: the audit with its scores, if they were kept.
        manifest: manifest of the run folder, if there is one.
    """

    row: dict[str, Any]
    report: AuditReport | None = None
    manifest: dict[str, Any] | None = None

    @property
    def head(self) -> RunHead:
        """What was trained."""
        return RunHead(**{part.name: self.row[part.name] for part in fields(RunHead)})

    @property
    def families(self) -> list[str]:
        """The families of its attacks."""
        return list(self.row["families"])

    @property
    def verdict(self) -> Verdict:
        """The verdict of its audit."""
        return Verdict.from_json(self.row["verdict"])

    def figures(self, family: str | None = None) -> dict[str, Figure]:
        """Return its figures by metric, over all families or of one."""
        return figures_of(self.row, family)

    def accuracy(self, name: str) -> Quantity:
        """Return the accuracy "train_accuracy" or "test_accuracy"."""
        return accuracy_quantity([self.row], name)

    def excerpt(self, family: str) -> Run:
        """Return accuracies, verdict, and the figures of one family, without its curves."""
        kept = [name for name in self.row if name.startswith(("train", "test"))]
        found = self.row["families"][family]
        figures = {name: found[name] for name in ("figures", "strongest_on_evaluation")}
        row = {name: self.row[name] for name in (*kept, "verdict")}
        return Run({**row, "families": {family: figures}})


def run_of_audit(
    report: AuditReport,
    *,
    name: str = "model",
    dataset: str = "records",
    seed: int = 0,
    synthetic: bool = False,
) -> Run:
    """Return an audit of a single model as a run.

    Args:
        report: from `run_audit`.
        name: name of the model on the page.
        dataset: name of its records.
        seed: the audit's seed.
        synthetic: whether the records are synthetic.
    """
    return Run(RunHead(name, seed, dataset, synthetic).row(report), report)


UNDEFENDED = "undefended"


@dataclass(frozen=True, eq=False)
class ModelRuns:
    """One defense on one data set.

    Attributes:
        label: its name on the page.
        runs: one per seed; the first one is drawn.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of results, one per seed."""
        return [run.row for run in self.runs]

    @property
    def first(self) -> dict[str, Any]:
        """The row of the first seed."""
        return self.runs[0].row

    @property
    def families(self) -> list[str]:
        """The families of attacks that were run on any seed."""
        return ordered_families([family for run in self.runs for family in run.families])

    @property
    def is_attacked(self) -> bool:
        """Whether every seed was attacked."""
        return all(row["figures"] for row in self.rows)

    def figures(self, metric: str, family: str | None = None) -> list[Figure]:
        """Return one figure per seed, over all families or of one."""
        return [run.figures(family)[metric] for run in self.runs]

    def attack_accuracy(self, family: str | None = None) -> Quantity:
        """Return the accuracy of the strongest attack, over all families or of one."""
        return figure_quantity(self.figures("balanced_accuracy", family))

    def accuracy_on_evaluation(self) -> Quantity:
        """Return the accuracy of the best attack on evaluation records: biased upwards."""
        best = [
            max(
                (family["strongest_on_evaluation"] for family in row["families"].values()),
                key=lambda each: float(each["balanced_accuracy"]),
            )
            for row in self.rows
        ]
        return accuracy_quantity(best, "balanced_accuracy")

    @property
    def verdict(self) -> Verdict:
        """The highest verdict that more than half of the seeds reach or exceed."""
        return over_seeds([run.verdict for run in self.runs])

    def accuracy(self, name: str) -> Quantity:
        """Return the accuracy "train_accuracy" or "test_accuracy"."""
        return accuracy_quantity(self.rows, name)


def ordered_families(names: Sequence[str]) -> list[str]:
    """Return each name once: the library's own families first, in their order."""
    known = [family for family in get_args(Family) if family in names]
    return [*known, *sorted(set(names) - set(known))]


def runs_by_model(runs: Sequence[Run]) -> list[ModelRuns]:
    """Group runs of one data set, defense and settings, regardless of their seeds."""
    found: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        settings = run.manifest["settings"] if run.manifest else {}
        rest = {name: value for name, value in settings.items() if name != "seed"}
        key = (run.row["dataset"], run.row["defense"], json.dumps(rest, sort_keys=True))
        found.setdefault(key, []).append(run)
    several = len({dataset for dataset, *_ in found}) > 1
    names = [f"{defense} on {data}" if several else defense for data, defense, _ in found]
    return [
        ModelRuns(label, tuple(model))
        for label, model in zip(_distinct(names), found.values(), strict=True)
    ]


def _distinct(names: Sequence[str]) -> list[str]:
    """Add numbers to names that are used for several settings."""
    total, seen, found = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if total[name] > 1 else name)
    return found


def baseline_of(model: ModelRuns, models: Sequence[ModelRuns]) -> ModelRuns | None:
    """Return the model to compare with: of the same data, the undefended one, else the first.

    None if that is `model` itself.
    """
    same = [each for each in models if each.first["dataset"] == model.first["dataset"]]
    undefended = [each for each in same if each.first["defense"] == UNDEFENDED]
    base = (undefended or same)[0]
    return None if base is model else base
