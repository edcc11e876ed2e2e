"""Charts as plotly.js draws them: data and layout, without colors, which the theme decides.

A color is written "@name" or "@name/opacity"; the page's script puts the theme's color there. It
does so under keys that end in "color" only, so no name from the data is ever taken for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10
from statistics import fmean, stdev
from typing import Any

from selena.auditing.vulnerability import ClassLeakage
from selena.escaping import plotly
from selena.reports.page.model_runs import ModelRuns
from selena.reports.table import Quantity, attack_words, figure_quantity, percent

COLORS = 7
"""Number of colors a theme has for defenses: "@c0" to "@c6"."""

_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")


@dataclass(frozen=True)
class Chart:
    """One drawing.

    Attributes:
        title: heading, plain text.
        alt: what is to be seen, for those who do not see it; plain text.
        spec: `data` and `layout` of plotly.js.
    """

    title: str
    alt: str
    spec: dict[str, Any]


def plotly_text(text: str) -> str:
    """Return `text` so that plotly.js, which reads some HTML in labels, shows it as it is."""
    return plotly(text)


def draw_roc(models: Sequence[ModelRuns], family: str) -> Chart:
    """Draw the first seed's ROC curves of the attack of `family` that is strongest in AUC."""
    shown = [(i, g) for i, g in enumerate(models) if family in g.first["families"]]
    floor = min(1 / _roc(model, family)["non_members"] for _, model in shown)
    data: list[dict[str, Any]] = []
    for color, model in shown:
        data += _roc_traces(_roc(model, family), model.label, f"@c{color % COLORS}", floor)
    guess = {
        "x": [floor, 1],
        "y": [floor, 1],
        "name": "guessing",
        "mode": "lines",
        "line": {"color": "@muted", "dash": "dash", "width": 1.5},
        "hoverinfo": "skip",
    }
    axis = {"type": "log", "tickformat": "~%", "dtick": 1, "range": _decades(floor)}
    areas = ", ".join(
        f"{model.label} {percent(_roc(model, family)['auc'])} %" for _, model in shown
    )
    return Chart(
        f"Best {family} attack",
        f"ROC curves of the best {family} attack; area under the curve: {areas}.",
        {
            "data": [*data, guess],
            "layout": {
                "xaxis": {**axis, "title": "false-positive rate"},
                "yaxis": {**axis, "title": "true-positive rate"},
                "height": 460,
            },
        },
    )


def _roc(model: ModelRuns, family: str) -> dict[str, Any]:
    found: dict[str, Any] = model.first["families"][family]["roc"]
    return found


def _roc_traces(roc: dict[str, Any], name: str, color: str, floor: float) -> list[dict[str, Any]]:
    # A logarithmic axis has no 0; what lies this far below the axis is not seen.
    below = floor / 10

    def shown(shares: Sequence[float]) -> list[float]:
        return [max(share, below) for share in shares]

    band, legend = roc.get("band"), {"legendgroup": f"{color} {name}", "mode": "lines"}
    edge = {**legend, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    edges = (
        []
        if band is None
        else [
            {**edge, "x": shown(band["fpr"]), "y": shown(band["low"])},
            {
                **edge,
                "x": shown(band["fpr"]),
                "y": shown(band["high"]),
                "fill": "tonexty",
                "fillcolor": f"{color}/0.15",
            },
        ]
    )
    curve = {
        **legend,
        "x": shown(roc["fpr"]),
        "y": shown(roc["tpr"]),
        "name": plotly_text(name),
        "line": {"color": color, "shape": "hv", "width": 2},
        "hovertemplate": "FPR %{x:.2%}<br>TPR %{y:.2%}",
    }
    return [*edges, curve]


def _decades(floor: float) -> list[float]:
    """Return an axis in powers of ten; a little beyond 1, or the last corner is cut in half."""
    return [log10(floor), 0.04]


def draw_scores(model: ModelRuns) -> Chart:
    """Draw how the scores of the first seed's best attack are distributed."""
    deciding = model.figures("advantage")[0]
    histogram = model.first["families"][deciding.family]["histogram"]
    accuracy = model.figures("balanced_accuracy")[0].value
    edges = histogram["edges"]
    data = [
        {
            "type": "bar",
            "x": [(low + high) / 2 for low, high in pairwise(edges)],
            "width": [high - low for low, high in pairwise(edges)],
            "y": [100 * share for share in histogram[side]],
            "name": name,
            "marker": {"color": f"{color}/0.55", "line": {"width": 0}},
            "hovertemplate": "%{y:.1f} % of them",
        }
        for side, name, color in (
            ("members", "members", "@members"),
            ("non_members", "non-members", "@others"),
        )
    ]
    attack = attack_words(deciding.name)
    return Chart(
        f"{model.label}: {attack}",
        f"Distributions of the scores that {attack} gives members and non-members of "
        f"{model.label}; the attack is right for {percent(accuracy)} %.",
        {
            "data": data,
            "layout": {
                "barmode": "overlay",
                "bargap": 0,
                "xaxis": {"title": plotly_text(histogram.get("axis", "score"))},
                "yaxis": {"title": "% of the records per bin", "rangemode": "tozero"},
                "hovermode": "x unified",
                "height": 300,
            },
        },
    )


def draw_classes(models: Sequence[tuple[ModelRuns, Sequence[ClassLeakage]]]) -> list[Chart]:
    """Draw the attack accuracy in each class, on one scale for all models.

    Classes with too few records are hollow.
    """
    ends = [100 * end for _, classes in models for each in classes for end in each.interval]
    scale = [min(ends, default=0) - 2, max(ends, default=100) + 2]
    return [
        _draw_classes(model.label, classes, f"@c{i % COLORS}", scale)
        for i, (model, classes) in enumerate(models)
    ]


def _draw_classes(
    label: str, classes: Sequence[ClassLeakage], color: str, scale: list[float]
) -> Chart:
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [each.label for each in part],
            "y": [100 * each.balanced_accuracy for each in part],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [100 * (each.interval[1] - each.balanced_accuracy) for each in part],
                "arrayminus": [100 * (each.balanced_accuracy - each.interval[0]) for each in part],
                "color": f"{ink}/0.5",
                "thickness": 1,
                "width": 0,
            },
            "marker": {"color": ink, "symbol": symbol, "size": 7},
            "customdata": [[each.members, each.non_members] for each in part],
            "hovertemplate": "class %{x}: %{y:.1f} %<br>%{customdata[0]} members, "
            "%{customdata[1]} non-members",
        }
        for name, part, ink, symbol in (
            ("resolved", [each for each in classes if each.resolved], color, "circle"),
            ("unresolved", [e for e in classes if not e.resolved], "@muted", "circle-open"),
        )
        if part
    ]
    resolved = sum(each.resolved for each in classes)
    return Chart(
        label,
        f"Accuracy of the best attack on {label} in each of {len(classes)} classes; {resolved} "
        "of them have enough records.",
        {
            "data": data,
            "layout": {
                "xaxis": {"title": "class"},
                "yaxis": {"title": "attack accuracy (%)", "range": scale},
                "shapes": [_guess_line()],
                "height": 300,
            },
        },
    )


def draw_tradeoff(models: Sequence[ModelRuns]) -> Chart:
    """Draw test accuracy against the accuracy of the best attack, one marker per defense."""
    points = [
        (i, model, model.accuracy("test_accuracy"), _leakage(model))
        for i, model in enumerate(models)
        if model.is_attacked
    ]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": plotly_text(model.label),
            "x": [utility[0]],
            "y": [leakage[0]],
            "error_x": _bar(utility, f"@c{i % COLORS}"),
            "error_y": _bar(leakage, f"@c{i % COLORS}"),
            "marker": {
                "color": f"@c{i % COLORS}",
                "size": 12,
                "symbol": _MARKERS[i % len(_MARKERS)],
            },
            "hovertemplate": "test %{x:.1f} %<br>attack %{y:.1f} %",
        }
        for i, model, utility, leakage in (
            (i, model, _with_ends(test), _with_ends(attack)) for i, model, test, attack in points
        )
    ]
    said = "; ".join(
        f"{model.label}: test {percent(fmean(test.values))} %, attack "
        f"{percent(fmean(attack.values))} %"
        for _, model, test, attack in points
    )
    return Chart(
        "Privacy against utility",
        f"Test accuracy and accuracy of the best attack. {said}.",
        {
            "data": data,
            "layout": {
                "xaxis": {"title": "test accuracy (%)"},
                "yaxis": {"title": "accuracy of the best attack (%)"},
                "shapes": [_guess_line()],
                "height": 420,
            },
        },
    )


def _leakage(model: ModelRuns) -> Quantity:
    return figure_quantity(model.figures("balanced_accuracy"))


def _with_ends(figure: Quantity) -> tuple[float, float, float]:
    """Return value, low and high end in percent: the interval, or ± one deviation over seeds."""
    value = fmean(figure.values)
    low, high = figure.interval
    if len(figure.values) > 1:
        spread = stdev(figure.values)
        low, high = value - spread, value + spread
    return 100 * value, 100 * low, 100 * high


def _bar(ends: tuple[float, float, float], color: str) -> dict[str, Any]:
    value, low, high = ends
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value],
        "arrayminus": [value - low],
        "color": color,
        "thickness": 1.5,
    }


def _guess_line() -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 50,
        "y1": 50,
        "line": {"color": "@muted", "dash": "dash", "width": 1.5},
    }
