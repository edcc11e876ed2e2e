"""The input of a page: rows of results, and their scores if these were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selena.auditing.report import AuditReport


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
    head = {
        "defense": name,
        "seed": seed,
        "dataset": dataset,
        "synthetic": synthetic,
        "selected_on_evaluation": False,
    }
    return Run({**head, **report.to_json()}, report)
