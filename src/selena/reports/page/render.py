"""Renders the page as one file, with template, style, scripts and charts, without a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selena.auditing.report import AuditReport
from selena.auditing.vulnerability import WIDEST, ClassLeakage, class_leakage
from selena.environment.version import __version__
from selena.errors import DataError
from selena.files.escaping import html_value
from selena.reports.page import tables
from selena.reports.page.charts import draw_classes, draw_roc, draw_scores, draw_tradeoff
from selena.reports.page.drawing import Chart
from selena.reports.page.method import about, facts, limits, settings
from selena.reports.page.words import summarize_models, verdict_limits
from selena.reports.runs import ModelRuns, Run, ordered_families, runs_by_model
from selena.reports.table import (
    CANARY_TITLES,
    FEW,
    canary_cells,
    canary_words,
    have_subjects,
)


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
        runs: one per defense and seed; some sections show only runs with kept scores.
        title: heading.
        command: the command that made them, if there was one.
        environment: see `describe_environment`.
        date: date of the page; by default today.

    Raises:
        DataError: no runs.
    """
    if not runs:
        raise DataError("A page needs at least one run. Give folders of runs that were attacked.")
    models = runs_by_model(runs)
    rows = [row for model in models for row in model.rows]
    attacked = [model for model in models if model.is_attacked]
    charts = _charts(attacked)
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            version=__version__,
            models=models,
            summaries=summarize_models(models),
            seeds=max(len(model.runs) for model in models),
            columns=tables.TITLES,
            words=tables.WORDS,
            attack_lines=tables.attack_lines(models),
            grouped=have_subjects(rows),
            canary_titles=CANARY_TITLES,
            canary_lines=canary_cells(rows),
            canary_words=canary_words(rows),
            charts=charts,
            figures=_script_json(
                {
                    f"{part}-{i}": chart.readings()
                    for part, of in charts.items()
                    for i, chart in enumerate(of)
                }
            ),
            exposed=tables.exposed_tables(models),
            few=FEW,
            verdict_limits=verdict_limits(),
            about=about(models, date or datetime.now(UTC).date()),
            widest=WIDEST,
            facts=facts(models, command),
            settings=settings(models, environment),
            limits=limits(models),
        )
    )


def _charts(models: Sequence[ModelRuns]) -> dict[str, list[Chart]]:
    """Return the charts of each section of the page."""
    families = ordered_families([family for model in models for family in model.first["families"]])
    return {
        "roc": [draw_roc(models, family) for family in families],
        "scores": [draw_scores(model) for model in models],
        "classes": draw_classes(
            [
                (model, _class_leakage(report))
                for model in models
                if (report := model.runs[0].report) is not None
            ]
        ),
        "tradeoff": [draw_tradeoff(models)] if models else [],
    }


def _class_leakage(report: AuditReport) -> list[ClassLeakage]:
    name, variant = report.advantage.attack.rsplit("/", 1)
    return class_leakage(report.attacks[name].scores, per_class=variant == "per_class")


@cache  # it keeps the templates that it has compiled
def page_environment(*packages: str) -> Environment:
    """Return the templates of `packages` and of this one; all inserted text is escaped."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in (*packages, "selena.reports.page")]),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=html_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element: plain ASCII, without <, > and &."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
