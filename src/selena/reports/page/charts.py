"""The charts of a page: ROC curves, scores, classes, and privacy against utility."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from selena.auditing.vulnerability import ClassLeakage
from selena.reports.page.drawing import Axis, Band, Chart, Series, around
from selena.reports.runs import ModelRuns
from selena.reports.table import Quantity, attack_words, percent

COLORS = 7
"""Number of colors that a theme has for defenses: "c0" to "c6"."""

_BEYOND_1 = 1.1
"""End of the axes of a ROC curve; at exactly 1 the last corner would be cut in half."""


def draw_roc(models: Sequence[ModelRuns], family: str) -> Chart:
    """Draw, for the first seed, the ROC curves of the attacks of `family` with the highest AUC."""
    shown = [(i, model) for i, model in enumerate(models) if family in model.first["families"]]
    floor = min(1 / _roc(model, family)["non_members"] for _, model in shown)
    areas = ", ".join(
        f"{model.label} {percent(_roc(model, family)['auc'])} %" for _, model in shown
    )
    return Chart(
        f"Best {family} attack",
        f"ROC curves of the best {family} attack; area under the curve: {areas}.",
        Axis("Non-members accused (false-positive rate)", floor, _BEYOND_1, is_log=True),
        Axis("Members found (true-positive rate)", floor, _BEYOND_1, is_log=True),
        tuple(_curve(model, _roc(model, family), _color(i)) for i, model in shown),
        guess="diagonal",
        height=420,
    )


def _roc(model: ModelRuns, family: str) -> dict[str, Any]:
    found: dict[str, Any] = model.first["families"][family]["roc"]
    return found


def _color(i: int) -> str:
    return f"c{i % COLORS}"


def _curve(model: ModelRuns, roc: dict[str, Any], color: str) -> Series:
    band = roc["band"]
    return Series(
        model.label,
        color,
        "curve",
        tuple(roc["fpr"]),
        tuple(roc["tpr"]),
        tuple(
            f"{100 * tpr:.3g} % of the members found, {100 * fpr:.3g} % of the non-members accused"
            for fpr, tpr in zip(roc["fpr"], roc["tpr"], strict=True)
        ),
        band=Band(tuple(band["fpr"]), tuple(band["low"]), tuple(band["high"])),
    )


def draw_scores(model: ModelRuns) -> Chart:
    """Draw the distribution of the scores of the first seed's best attack."""
    deciding = model.figures("advantage")[0]
    histogram = model.first["families"][deciding.family]["histogram"]
    accuracy = model.figures("balanced_accuracy")[0].value
    attack = attack_words(deciding.name)
    edges = histogram["edges"]
    highest = max(*histogram["members"], *histogram["non_members"])
    return Chart(
        f"{model.label}: {attack}",
        f"Distributions of the scores that {attack} gives members and non-members of "
        f"{model.label}; the attack is right for {percent(accuracy)} %.",
        Axis(histogram["axis"], edges[0], edges[-1]),
        Axis("% of the records per bin", 0.0, 105 * highest),
        tuple(
            _bars(name, color, edges, histogram[side])
            for side, name, color in (
                ("members", "members", "members"),
                ("non_members", "non-members", "others"),
            )
        ),
    )


def _bars(name: str, color: str, edges: Sequence[float], shares: Sequence[float]) -> Series:
    return Series(
        name,
        color,
        "bars",
        tuple((low + high) / 2 for low, high in pairwise(edges)),
        tuple(100 * share for share in shares),
        tuple(
            f"{percent(share)} % of them score {low:.3g} to {high:.3g}"
            for share, (low, high) in zip(shares, pairwise(edges), strict=True)
        ),
        width=edges[1] - edges[0],
    )


def draw_classes(models: Sequence[tuple[ModelRuns, Sequence[ClassLeakage]]]) -> list[Chart]:
    """Draw the attack accuracy in each class, on one scale for all models.

    Classes with too few records are hollow.
    """
    ends = [100 * end for _, classes in models for each in classes for end in each.interval]
    scale = Axis("Attack accuracy (%)", min(ends, default=0) - 2, max(ends, default=100) + 2)
    return [
        _draw_classes(model.label, classes, _color(i), scale)
        for i, (model, classes) in enumerate(models)
    ]


def _draw_classes(label: str, classes: Sequence[ClassLeakage], color: str, scale: Axis) -> Chart:
    resolved = sum(each.resolved for each in classes)
    labels = [each.label for each in classes]
    return Chart(
        label,
        f"Accuracy of the best attack on {label} in each of {len(classes)} classes; {resolved} "
        "of them have enough records.",
        Axis("Class", min(labels, default=0) - 0.5, max(labels, default=0) + 0.5),
        scale,
        tuple(
            Series(
                name,
                ink,
                "points",
                tuple(float(each.label) for each in part),
                tuple(100 * each.balanced_accuracy for each in part),
                tuple(
                    f"class {each.label}: {percent(each.balanced_accuracy)} %, of {each.members} "
                    f"members and {each.non_members} non-members"
                    for each in part
                ),
                is_hollow=is_hollow,
                y_ends=tuple((100 * each.interval[0], 100 * each.interval[1]) for each in part),
            )
            for name, part, ink, is_hollow in (
                ("resolved", [each for each in classes if each.resolved], color, False),
                ("unresolved", [e for e in classes if not e.resolved], "muted", True),
            )
            if part
        ),
        guess=50.0,
    )


def draw_tradeoff(models: Sequence[ModelRuns]) -> Chart:
    """Draw test accuracy against the accuracy of the best attack, one marker per defense."""
    points = [
        (i, model, _with_ends(model.accuracy("test_accuracy")), _with_ends(model.attack_accuracy()))
        for i, model in enumerate(models)
        if model.is_attacked
    ]
    said = "; ".join(
        f"{model.label}: test {test[0]:.1f} %, attack {attack[0]:.1f} %"
        for _, model, test, attack in points
    )
    return Chart(
        "Privacy against utility",
        f"Test accuracy and accuracy of the best attack. {said}.",
        around([end for _, _, test, _ in points for end in test], "Test accuracy (%)"),
        around(
            [50.0, *(end for *_, attack in points for end in attack)],
            "Accuracy of the best attack (%)",
        ),
        tuple(
            Series(
                model.label,
                _color(i),
                "points",
                (test[0],),
                (attack[0],),
                (f"test {test[0]:.1f} %, attack {attack[0]:.1f} %",),
                symbol=i,
                x_ends=(test[1:],),
                y_ends=(attack[1:],),
            )
            for i, model, test, attack in points
        ),
        guess=50.0,
        height=400,
    )


def _with_ends(figure: Quantity) -> tuple[float, float, float]:
    """Return value, low and high end in percent: the interval, or ± one deviation over seeds."""
    value = fmean(figure.values)
    low, high = figure.interval
    if len(figure.values) > 1:
        spread = stdev(figure.values)
        low, high = value - spread, value + spread
    return 100 * value, 100 * low, 100 * high
