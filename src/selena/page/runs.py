"""What a page is made of: rows of results, and the scores behind them where they are at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from selena.auditing.report import AuditReport
from selena.auditing.scoring import AttackScores
from selena.experiment import Results
from selena.store import RunFolder

_PER_CLASS = "per_class"


@dataclass(frozen=True, eq=False)
class KeptBest:
    """The scores behind the best attack of one family.

    Attributes:
        scores: of known and of evaluation records.
        per_class: whether it has one threshold a class.
    """

    scores: AttackScores
    per_class: bool


@dataclass(frozen=True, eq=False)
class Run:
    """One row of results and what is known behind it.

    Attributes:
        row: as `selena-run/1` has it.
        best: by family, the scores behind its best attack; those at hand.
        manifest: of the run folder, if there is one.
    """

    row: dict[str, Any]
    best: Mapping[str, KeptBest] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None


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
        name: what the model is called on the page.
        dataset: what its records are called.
        seed: the audit's seed.
        synthetic: whether the records are made up.
    """
    head = {
        "defense": name,
        "seed": seed,
        "dataset": dataset,
        "synthetic": synthetic,
        "selected_on_evaluation": False,
    }
    bests = {family: report.best(family) for family in report.families}
    return Run(
        {**head, **report.to_json()},
        {
            family: KeptBest(best.result.scores, best.variant == _PER_CLASS)
            for family, best in bests.items()
        },
    )


def runs_of_results(results: Results) -> list[Run]:
    """Return the runs of an experiment, with the scores that their folders keep.

    Raises:
        StoreError: a folder has no manifest, or a file of scores is damaged.
    """
    if not results.folders:
        return [Run(row) for row in results.rows]
    folders = [RunFolder(path) for path in results.folders]
    return [
        Run(row, _kept_bests(folder, row), folder.manifest())
        for row, folder in zip(results.rows, folders, strict=True)
    ]


def _kept_bests(folder: RunFolder, row: dict[str, Any]) -> dict[str, KeptBest]:
    found = {}
    for family, best in row["best"].items():
        name, variant = best["attack"].rsplit("/", 1)
        found[family] = KeptBest(folder.scores(name), variant == _PER_CLASS)
    return found
