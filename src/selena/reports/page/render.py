"""The page as one file: template, style, scripts and charts together, nothing from the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selena.auditing.report import AuditReport
from selena.auditing.vulnerability import WIDEST, ClassLeakage, class_leakage
from selena.errors import DataError
from selena.escaping import html_value
from selena.reports.page import attack_table
from selena.reports.page.charts import Chart, draw_classes, draw_roc, draw_scores, draw_tradeoff
from selena.reports.page.exposed import exposed_tables
from selena.reports.page.groups import Group, group_runs, ordered_families
from selena.reports.page.limits import limits
from selena.reports.page.method import about, facts, settings
from selena.reports.page.runs import Run
from selena.reports.page.words import summarize_groups, verdict_limits
from selena.reports.table import (
    CANARY_TITLES,
    FEW,
    are_grouped,
    canary_cells,
    canary_words,
)
from selena.version import __version__


def render_page(
    runs: Sequence[Run],
    *,
    title: str,
    command: str = "",
    environment: dict[str, Any] | None = None,
    date: date | None = None,
) -> str:
    """Return the page of `runs` as HTML; the same input on the same day gives the same text.

    Args:
        runs: one a defense and seed; sections that need kept scores are of those that have them.
        title: heading.
        command: the command that gave them, if there was one.
        environment: see `describe_environment`.
        date: of the page; by default today.

    Raises:
        DataError: no runs.
    """
    if not runs:
        raise DataError("A page needs at least one run. Give folders of runs that were attacked.")
    groups = group_runs(runs)
    rows = [row for group in groups for row in group.rows]
    attacked = [group for group in groups if group.is_attacked]
    charts = _charts(attacked)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            version=__version__,
            groups=groups,
            summaries=summarize_groups(groups),
            seeds=max(len(group.runs) for group in groups),
            columns=attack_table.TITLES,
            words=attack_table.WORDS,
            attack_lines=attack_table.attack_lines(groups),
            grouped=are_grouped(rows),
            canary_titles=CANARY_TITLES,
            canary_lines=canary_cells(rows),
            canary_words=canary_words(rows),
            charts=charts,
            figures=_script_json(
                {
                    f"{part}-{i}": chart.spec
                    for part, of in charts.items()
                    for i, chart in enumerate(of)
                }
            ),
            exposed=exposed_tables(groups),
            few=FEW,
            verdict_limits=verdict_limits(),
            about=about(groups, date or datetime.now(UTC).date()),
            widest=WIDEST,
            facts=facts(groups, command),
            settings=settings(groups, environment),
            limits=limits(groups),
            plotly=_plotly(),
        )
    )


def _charts(groups: Sequence[Group]) -> dict[str, list[Chart]]:
    """Return the charts of each section of the page."""
    families = ordered_families([family for group in groups for family in group.first["families"]])
    return {
        "roc": [draw_roc(groups, family) for family in families],
        "scores": [draw_scores(group) for group in groups],
        "classes": draw_classes(
            [
                (group, _class_leakage(report))
                for group in groups
                if (report := group.runs[0].report) is not None
            ]
        ),
        "tradeoff": [draw_tradeoff(groups)] if groups else [],
    }


def _class_leakage(report: AuditReport) -> list[ClassLeakage]:
    name, variant = report.advantage.attack.rsplit("/", 1)
    return class_leakage(report.attacks[name].scores, per_class=variant == "per_class")


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("selena.reports.page"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=html_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _script_json(value: Any) -> Markup:
    """Return JSON that no name in it can break out of: plain ASCII, without <, > and &."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _plotly() -> Markup:
    # Slow to import, and only pages need it.
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
