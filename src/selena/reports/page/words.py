"""The summary in plain words, for readers who are not experts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import get_args

from selena.auditing.figure import EPSILON, Figure, chance, fpr_of, tpr_metric
from selena.auditing.verdict import LIMITS, Level
from selena.auditing.vulnerability import report_exposure
from selena.reports.runs import ModelRuns, baseline_of
from selena.reports.table import attack_words, percent
from selena.types import Family

_LOW = tpr_metric(0.01)

VERDICTS: dict[Level, str] = {
    "severe": "severe leak",
    "large": "large leak",
    "small": "small leak",
    "none shown": "no leak shown",
    "too few records": "too few records to tell",
    "not attacked": "not attacked",
}


@dataclass(frozen=True)
class CardText:
    """The summary of one defense.

    Attributes:
        label: its name.
        level: level of the verdict.
        verdict: the level in words.
        sentences: what an attacker finds, how useful the model is, and what was not tried.
    """

    label: str
    level: Level
    verdict: str
    sentences: list[str]


def summarize_models(models: Sequence[ModelRuns]) -> list[CardText]:
    """Return one summary per defense."""
    return [_summary(model, baseline_of(model, models)) for model in models]


def verdict_limits() -> str:
    """Return the limits from which figures are called large and severe."""
    parts = []
    for metric, (large, severe) in LIMITS.items():
        fpr = fpr_of(metric)
        if fpr is not None:
            name = f"members found at a false-positive rate of {100 * fpr:g} %"
        else:
            name = {"advantage": "advantage", "auc": "AUC"}.get(metric, "ε that canaries prove")
        ends = (large, severe) if metric == EPSILON else (100 * large, 100 * severe)
        unit = "" if metric == EPSILON else " %"
        parts.append(f"{name}: {ends[0]:g} and {ends[1]:g}{unit}")
    return "; ".join(parts)


def one_in(fpr: float) -> str:
    """Return 0.01 as "1 non-member in 100"."""
    return f"1 non-member in {round(1 / fpr):,}"


def _summary(model: ModelRuns, base: ModelRuns | None) -> CardText:
    level = model.verdict.level
    words = VERDICTS[level] + _in_seeds(model, level)
    sentences = [_usefulness(model, base)]
    if model.is_attacked:
        sentences = [
            *_decides(model),
            _found(model.figures(_LOW)),
            *_worst(model),
            _right(model.figures("balanced_accuracy")),
            *_canaries(model),
            *sentences,
            *_no_proof(level),
            *_missing(model),
        ]
    return CardText(
        model.label, level, words, [each.replace(" %", "\u00a0%") for each in sentences]
    )


def _decides(model: ModelRuns) -> list[str]:
    """Return the reason for the verdict, unless another sentence gives it."""
    verdict = model.verdict
    if len(model.rows) > 1 or verdict.figure in (_LOW, "advantage"):
        return []
    return [verdict.reason.replace("%", " %")]


def _in_seeds(model: ModelRuns, level: Level) -> str:
    """Return in how many seeds the verdict is `level`, and the verdicts of the others."""
    counts = Counter(row["verdict"]["level"] for row in model.rows)
    if len(model.rows) == 1 or not model.is_attacked:
        return ""
    if len(counts) == 1:
        return f" (in all {len(model.rows)} runs)"
    others = "".join(f"; {VERDICTS[o]} in {n}" for o, n in counts.items() if o != level)
    return f" (in {counts[level]} of {len(model.rows)} runs{others})"


def _found(figures: Sequence[Figure]) -> str:
    """Say which share of the members is found at a low FPR."""
    fpr = fpr_of(figures[0].metric) or 1.0
    said = (
        f"An attacker who accepts one wrong accusation per {round(1 / fpr):,} non-members finds "
        f"{_values(figures)} of the members; guessing finds {percent(fpr)} %."
    )
    few = [figure for figure in figures if not figure.resolved]
    if few:
        return (
            f"{said} That is a rough figure: {few[0].non_members:,} non-members were scored, and "
            f"{few[0].needed_non_members:,} would make it a firm one."
        )
    return said + _compared(figures)


def _worst(model: ModelRuns) -> list[str]:
    """Say how many members score higher than every non-member, if scores were kept."""
    report = model.runs[0].report
    if report is None or len(model.runs) > 1:
        return []
    exposed = report_exposure(report)
    found = int((exposed.false_positives == 0).sum())
    by_chance = len(exposed) / (exposed.non_members + 1)
    return [
        f"The most exposed: {found:,} of {len(exposed):,} members look more like members than "
        f"every one of {exposed.non_members:,} non-members; chance gives about {by_chance:.0f}."
    ]


def _right(figures: Sequence[Figure]) -> str:
    return (
        "Given as many members as non-members, the most accurate attack "
        f"({attack_words(figures[0].name)}) is right in {_values(figures)} of the cases; guessing "
        f"is right in 50 %.{_compared(figures)}"
    )


def _values(figures: Sequence[Figure]) -> str:
    """Return a value with its interval, or the mean and range over seeds."""
    values = [figure.value for figure in figures]
    if len(values) > 1:
        return (
            f"{percent(fmean(values))} % (mean of {len(values)} runs, from "
            f"{percent(min(values))} to {percent(max(values))} %)"
        )
    low, high = figures[0].interval
    return f"{percent(values[0])} % ({percent(low)} to {percent(high)} % with 95 % confidence)"


def _compared(figures: Sequence[Figure]) -> str:
    """Compare an interval with guessing; say nothing if it is above."""
    if len(figures) > 1:
        above = sum(figure.above_chance for figure in figures)
        return f" In {above or 'none'} of {len(figures)} runs the 95 % interval is above guessing."
    figure = figures[0]
    if figure.above_chance:
        return ""
    if figure.interval[1] < chance(figure.metric):
        return " That is less than guessing."
    return " These records are too few to tell that from guessing."


def _canaries(model: ModelRuns) -> list[str]:
    """Say which share of the canaries in the training set is found."""
    if not all(EPSILON in row["figures"] for row in model.rows):
        return []
    points = [
        row["attacks"][figure.name]["canaries"]["tpr_at_fpr"][str(fpr_of(_LOW))]
        for row, figure in zip(model.rows, model.figures(_LOW), strict=True)
    ]
    share = fmean(point["tpr"] for point in points)
    low = min(point["interval"][0] for point in points)
    high = max(point["interval"][1] for point in points)
    return [
        f"Of the canaries, records planted with a wrong label, it finds {percent(share)} % "
        f"({percent(low)} to {percent(high)} %) at the same rate of wrong accusations."
    ]


def _no_proof(level: Level) -> list[str]:
    if level in ("small", "large", "severe"):
        return []
    return ["This is no proof that nothing leaks: more records, or a better attack, may show more."]


def _missing(model: ModelRuns) -> list[str]:
    """Name the attacks that were not tried, the strongest (LiRA and RMIA) first."""
    missing = [family for family in get_args(Family) if family not in model.families]
    if not missing:
        return []
    names = [_FAMILY_WORDS.get(family, family) for family in reversed(missing)]
    *most, last = names
    words = f"{', '.join(most)} or {last}" if most else last
    return [f"Not tried: {words} attacks, which may find more."]


_FAMILY_WORDS = {"reference-model": "reference-model (LiRA, RMIA)"}


def _usefulness(model: ModelRuns, base: ModelRuns | None) -> str:
    test = fmean(model.accuracy("test_accuracy").values)
    said = f"The model is right for {percent(test)} % of new records"
    if base is None:
        return f"{said}."
    points = 100 * (test - fmean(base.accuracy("test_accuracy").values))
    change = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than"
    return f"{said}, {'as many as' if round(points, 1) == 0 else change} {base.label}."
