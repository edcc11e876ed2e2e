"""What a page is made of: rows of results, and the scores behind them where they are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selena.auditing.report import AuditReport


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
