"""`selena release-report`: one document for the decision whether a model may be released."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selena.auditing.report import AuditReport
from selena.cli.show import show_written, wide_console
from selena.experiments.store import RunFolder
from selena.files.writing import together, write_text
from selena.reports.release.document import write_release_report
from selena.reports.release.model_card import model_card_section


def release_report_command(
    source: Annotated[
        Path,
        typer.Argument(help="Report that `AuditReport.save` wrote, or a run that was attacked."),
    ],
    output: Annotated[Path, typer.Option(help="Document to write: .pdf or .html.")],
    title: Annotated[str, typer.Option(help="Heading, such as the model's name.")] = (
        "Release report"
    ),
    records_key: Annotated[
        Path | None,
        typer.Option(help="CSV file to write: the row of each pseudonym. Do not publish it."),
    ] = None,
    model_card: Annotated[
        Path | None, typer.Option(help="YAML file to write: a section for a model card.")
    ] = None,
) -> None:
    """Write one document (PDF or HTML) for the decision whether a model may be released."""
    report = RunFolder(source).report() if source.is_dir() else AuditReport.load(source)
    with together():
        write_release_report(report, output, title=title, records_key=records_key)
        if model_card is not None:
            write_text(model_card, model_card_section(report))
    console = wide_console()
    for path in filter(None, (output, records_key, model_card)):
        show_written(console, path)
