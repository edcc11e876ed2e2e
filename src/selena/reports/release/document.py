"""The release report as one HTML file or PDF."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from selena.auditing.report import AuditReport
from selena.auditing.stored_records import StoredRecords
from selena.environment.description import describe_environment
from selena.environment.version import __version__
from selena.errors import ConfigError
from selena.files.writing import atomic_path, together, write_text
from selena.reports.page.charts import draw_roc
from selena.reports.page.render import page_environment
from selena.reports.page.words import VERDICTS
from selena.reports.release.facts import (
    NOT_TESTED,
    SMALL,
    Pseudonym,
    figure_lines,
    identity,
    not_tested,
    overfitting,
    pseudonyms,
    small_classes,
    subjects,
)
from selena.reports.release.model_card import model_card_section
from selena.reports.release.pdf import as_pdf
from selena.reports.release.requirements import requirements
from selena.reports.runs import ordered_families, run_of_audit, runs_by_model
from selena.reports.table import FEW

_KINDS = (".html", ".pdf")


def write_release_report(
    report: AuditReport,
    path: str | Path,
    *,
    title: str = "Release report",
    records_key: str | Path | None = None,
) -> Path:
    """Write one document for the decision whether a model may be released.

    It holds the verdict, the worst records over all attacks, small classes, overfitting, the check
    of stored records, what was not tested, hashes and versions, and the requirements of the
    European Data Protection Board and OWASP. Records appear under pseudonyms.

    Args:
        report: an audit of the model.
        path: file to write; its suffix, ".html" or ".pdf", gives the format.
        title: heading, such as the model's name.
        records_key: CSV file to write with the row of each pseudonym. Keep it: readers of the
            document must not get it.

    Returns:
        The path of the document.

    Raises:
        ConfigError: another suffix, or a PDF without Chromium on the machine.
        StoreError: Chromium fails to print.
    """
    path = Path(path)
    if path.suffix.lower() not in _KINDS:
        raise ConfigError(
            f"A release report is {' or '.join(_KINDS)}, not {path.suffix or 'without a suffix'}. "
            "Give the output another name."
        )
    html = render_release_report(report, title=title)
    is_pdf = path.suffix.lower() == ".pdf"
    text = as_pdf(html) if is_pdf else html.encode("utf-8", errors="backslashreplace")
    with together():
        with atomic_path(path) as temporary:
            temporary.write_bytes(text)
        if records_key is not None:
            write_text(Path(records_key), _key(pseudonyms(report)[1]))
    return path


def render_release_report(
    report: AuditReport,
    *,
    title: str,
    written: date | None = None,
) -> str:
    """Return the document as HTML; the same input on the same day gives the same text."""
    worst, named = pseudonyms(report)
    models = runs_by_model([run_of_audit(report, name="model")])
    families = ordered_families(list(report.families))
    environment = describe_environment()
    stored = report.stored_records
    versions = [
        ("Report written with", f"selena {__version__}, Python {environment['python']}"),
        ("Report written", (written or datetime.now(UTC).date()).isoformat()),
        ("Packages", ", ".join(f"{n} {v}" for n, v in environment["packages"].items() if v)),
    ]
    return (
        page_environment("selena.reports.release")
        .get_template("release.html.j2")
        .render(
            title=title,
            version=__version__,
            level=report.verdict.level,
            verdict=VERDICTS[report.verdict.level],
            reason=report.verdict.reason.replace("%", "\u00a0%"),  # as all other numbers here
            lines=figure_lines(report),
            few=FEW,
            charts=[draw_roc(models, family) for family in families],
            worst=worst,
            named=named,
            classes=small_classes(report),
            small=SMALL,
            subjects=subjects(report),
            gap=str(overfitting(report)),
            stored=NOT_TESTED if stored is None else str(stored),
            not_tested=not_tested(report),
            requirements=requirements(report, _stored_words(stored)),
            identity=identity(report, versions),
            card=model_card_section(report),
        )
    )


def _stored_words(stored: StoredRecords | None) -> str:
    if stored is None:
        return NOT_TESTED
    return "none found" if stored.passes else "found, see above"


def _key(named: list[Pseudonym]) -> str:
    text = io.StringIO()
    rows: list[list[Any]] = [["pseudonym", "row", "class"]]
    rows += [[each.name, each.row, each.label] for each in named]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
