"""How one audit shows itself: what the methods of `AuditReport` that draw or print call."""

from __future__ import annotations

from selena.auditing.report import AuditReport
from selena.reports import terminal


def as_text(report: AuditReport) -> str:
    """Return the table and notes that `print(report)` shows."""
    audit = report.to_json()
    asked = [] if report.model_queries is None else [str(report.model_queries)]
    return terminal.as_text(terminal.audit_table(audit), [*terminal.audit_notes(audit), *asked])
