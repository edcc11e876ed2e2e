"""Functions behind the methods of `AuditReport` that print, draw or write."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from selena.auditing.choice import chosen_figure
from selena.auditing.figure import EPSILON, METRICS, Figure, chance, fpr_of, tpr_metric
from selena.auditing.report import AuditReport
from selena.auditing.saved import load_report, save_report
from selena.errors import ConfigError
from selena.files.escaping import printable
from selena.reports import terminal
from selena.reports.table import FEW, attack_words, percent

__all__ = [
    "as_html",
    "as_text",
    "load_report",
    "plot_roc",
    "save_report",
    "to_frame",
    "write_page",
]


def as_text(report: AuditReport) -> str:
    """Return the table and notes that `print(report)` shows."""
    audit = report.to_json()
    stored = report.stored_records
    kept = None if stored is None or stored.passes else stored
    told = (kept, report.near_copies, report.model_queries)
    asked = [text for text in map(str, filter(None, told)) if text]
    return terminal.as_text(terminal.audit_table(audit), [*terminal.audit_notes(audit), *asked])


def as_html(report: AuditReport) -> str:
    """Return the verdict and the strongest attack's figures as HTML, for notebooks."""
    verdict = report.verdict
    figures = report.figures()
    lines = [_html_line(figures[m]) for m in (*terminal.HEADLINES, EPSILON) if m in figures]
    accuracies = (
        f"The model is right for {percent(report.train_accuracy.value)} % of its training records "
        f"and for {percent(report.test_accuracy.value)} % of the others."
    )
    head = "".join(
        f"<th>{title}</th>" for title in ("", "Figure", "95 % interval", "Guessing", "Attack")
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return (
        f"<div><p><b>Leak: {_html(verdict.level)}.</b> {_html(verdict.reason)} {accuracies}</p>"
        f"{table if lines else ''}</div>"
    )


def _html_line(figure: Figure) -> str:
    low, high = figure.interval
    if figure.metric == EPSILON:
        title, *numbers = "Epsilon", f"{figure.value:.2f}", f"from {low:.2f}", "0"
    else:
        title = terminal.HEADLINES[figure.metric]
        few = "" if figure.resolved else f" {FEW}"
        interval = f"{percent(low)}–{percent(high)} %"
        guess = f"{100 * chance(figure.metric):g} %"
        numbers = [f"{percent(figure.value)} %{few}", interval, guess]
    cells = [*numbers, attack_words(figure.attack)]
    return f"<tr><th>{title}</th>{''.join(f'<td>{_html(cell)}</td>' for cell in cells)}</tr>"


def _html(text: str) -> str:
    return escape(printable(text))


def to_frame(report: AuditReport) -> Any:
    """Return a pandas frame of every attack; see `AuditReport.to_frame`."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigError(
            "to_frame needs pandas, which is not installed. Install it with: pip install pandas"
        ) from error
    planted = [EPSILON] if report.epsilon is not None else []
    rows: list[dict[str, Any]] = []
    for name, result in report.attacks.items():
        row = {
            "attack": name,
            "family": result.family,
            "access": result.access,
            "queries_per_record": result.queries_per_record,
        }
        for metric in (*METRICS, *planted):
            figure = chosen_figure([result], metric)
            row[metric] = figure.value
            row[f"{metric}_low"], row[f"{metric}_high"] = figure.interval
            if fpr_of(metric) is not None:
                row[f"{metric}_resolved"] = figure.resolved
        rows.append(row)
    return pd.DataFrame(rows)


def plot_roc(report: AuditReport, ax: Any = None) -> Any:
    """Draw one ROC curve per family; see `AuditReport.plot_roc`."""
    # Imported here because Matplotlib takes half a second to import.
    from selena.reports.figures import draw_roc

    if not report.attacks:
        raise ConfigError("The report holds no attack, so there is no curve to draw. Run one.")
    strongest = [report.strongest(tpr_metric(0.01), family) for family in report.families]
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(layout="constrained")
    curves = [(attack_words(each.name), each.roc()) for each in strongest]
    draw_roc(ax, curves, "ROC of the strongest attack per family")
    return ax


def write_page(report: AuditReport, path: str | Path, title: str, command: str) -> Path:
    """Write the HTML page of this one report; return its path."""
    # Imported here because printing a report needs no page templates.
    from selena.reports.comparison import compare

    return compare({"model": report}).write_page(path, title=title, command=command)
