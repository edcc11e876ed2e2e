"""What a page is made of: rows of results, and the scores behind them where they are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selena.auditing.report import AuditReport
from selena.experiment import Results
from selena.store import RunFolder


@dataclass(frozen=True, eq=False)
class Run:
    """One row of results and what is known behind it.

    Attributes:
        row: as `selena-run/2` has it.
        report: the audit with its scores, if they are at hand.
        manifest: of the run folder, if there is one.
    """

    row: dict[str, Any]
    report: AuditReport | None = None
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
    return Run({**head, **report.to_json()}, report)


def runs_of_results(results: Results) -> list[Run]:
    """Return the runs of an experiment, with the scores that their folders keep.

    Raises:
        StoreError: a folder has no manifest, or a file of scores is damaged.
    """
    if not results.folders:
        return [Run(row) for row in results.rows]
    folders = [RunFolder(path) for path in results.folders]
    return [
        Run(row, folder.report(), folder.manifest())
        for row, folder in zip(results.rows, folders, strict=True)
    ]
