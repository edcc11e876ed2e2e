"""The verdict: how much leakage an audit shows, as one of six levels.

The worst figure decides. A figure counts if its interval is above guessing. The error is divided by
the number of figures, so at most one in twenty audits of models that leak nothing says "small" or
worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from selena.auditing.choice import chosen_figure
from selena.auditing.figure import EPSILON, Figure, fpr_of
from selena.auditing.results import AttackResult

Level = Literal["none shown", "small", "large", "severe", "too few records", "not attacked"]
LEVELS: tuple[Level, ...] = (
    "not attacked",
    "too few records",
    "none shown",
    "small",
    "large",
    "severe",
)
"""Levels, from the least to the most leakage."""

ERROR = 0.05
"""Probability of a wrong verdict on a model that leaks nothing, at most."""

LIMITS: dict[str, tuple[float, float]] = {
    "tpr@fpr=0.001": (0.02, 0.1),
    "tpr@fpr=0.01": (0.05, 0.2),
    "tpr@fpr=0.1": (0.3, 0.6),
    EPSILON: (1.0, 3.0),
    "advantage": (0.3, 0.5),
    "auc": (0.7, 0.8),
}
"""Limits from which a figure above guessing is "large" and "severe". The lowest FPRs come first:
they measure the risk of single persons, while averages measure that of most."""

VERDICT_CONFIDENCE = 1 - 2 * ERROR / (len(LIMITS) - 1)
"""Confidence of the two-sided intervals of a verdict without canaries. Each figure gets its share
of the error, which counts at the lower end only."""

_TOO_WIDE = 0.2
"""If no leak is shown, an advantage of this size must be excluded, or records are too few."""


@dataclass(frozen=True)
class Verdict:
    """The verdict of an audit.

    Attributes:
        level: "none shown", "small", "large", "severe", "too few records" or "not attacked".
        reason: the figure that decides, in words.
        figure: the metric that decides; may be empty.
    """

    level: Level
    reason: str
    figure: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_json` wrote."""
        return cls(**read)


def verdict(results: Sequence[AttackResult]) -> Verdict:
    """Return the verdict on the attacks of one audit."""
    if not results:
        return Verdict("not attacked", "No attack was run.")
    metrics = [m for m in LIMITS if m != EPSILON or all(r.canaries for r in results)]
    tail = ERROR / len(metrics)
    figures = [
        chosen_figure(results, metric, confidence=1 - (tail if metric == EPSILON else 2 * tail))
        for metric in metrics
    ]
    return judge_figures(figures)


def judge_figures(figures: Sequence[Figure]) -> Verdict:
    """Return the verdict on figures with simultaneous intervals, in the order of `LIMITS`."""
    shown = [figure for figure in figures if figure.above_chance]
    if not shown:
        if max(map(_possible_advantage, figures)) >= _TOO_WIDE:
            scored = min(figures[0].members, figures[0].non_members)
            return Verdict(
                "too few records",
                f"No figure is above guessing, but with {scored:,} records per side an advantage "
                f"of {_TOO_WIDE:.0%} cannot be ruled out.",
            )
        return Verdict("none shown", "No figure is above guessing.")
    worst = max(shown, key=lambda figure: LEVELS.index(_grade(figure)))
    return Verdict(_grade(worst), describe(worst), worst.metric)


def over_seeds(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the highest verdict that more than half of the seeds reach or exceed.

    Its error stays below that of one seed for any number of seeds.
    """
    ordered = sorted(verdicts, key=lambda each: LEVELS.index(each.level))
    return ordered[(len(ordered) - 1) // 2]


def describe(figure: Figure) -> str:
    """Return a figure above guessing in one sentence."""
    attack = f'"{figure.name.replace("_", " ")}"'
    fpr = fpr_of(figure.metric)
    if fpr is not None:
        return (
            f"The attack {attack} finds {figure.value:.1%} of the members and wrongly accuses "
            f"{100 * fpr:g}% of the non-members; guessing finds {100 * fpr:g}%."
        )
    if figure.metric == EPSILON:
        return f"The attack {attack} proves an epsilon of at least {figure.value:.2f}."
    if figure.metric == "auc":
        return (
            f"The attack {attack} ranks a member above a non-member in {figure.value:.1%} of the "
            "pairs (AUC); guessing does so in 50%."
        )
    return (
        f"The attack {attack} tells members from non-members in {(1 + figure.value) / 2:.1%} of "
        "the cases; guessing does so in 50%."
    )


def _possible_advantage(figure: Figure) -> float:
    """Return the largest advantage that a figure does not exclude; 0 if it says nothing of it.

    For an AUC of A it is 2A - 1, since ROC curves of optimal rules are concave. The interval of the
    advantage itself does not suffice: an attack that decides the same for all records has an
    advantage of exactly 0, which says nothing about better thresholds.
    """
    high = figure.interval[1]
    return {"advantage": high, "auc": 2 * high - 1}.get(figure.metric, 0.0)


def _grade(figure: Figure) -> Level:
    large, severe = LIMITS[figure.metric]
    value = round(figure.value, 9)  # 0.7 - 0.4 is a little less than 0.3
    if value >= severe:
        return "severe"
    return "large" if value >= large else "small"
