"""The verdict: how much an audit shows, in one of six words.

The worst figure decides. A figure counts where its interval lies above guessing, with the error
divided by the number of figures looked at: on a model that leaks nothing, at most one audit in
twenty says "small" or worse.
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
"""From the least to the most that is shown."""

ERROR = 0.05
"""How often a verdict may be wrong on a model that leaks nothing."""

LIMITS: dict[str, tuple[float, float]] = {
    "tpr@fpr=0.001": (0.02, 0.1),
    "tpr@fpr=0.01": (0.05, 0.2),
    "tpr@fpr=0.1": (0.3, 0.6),
    EPSILON: (1.0, 3.0),
    "advantage": (0.3, 0.5),
    "auc": (0.7, 0.8),
}
"""From where a figure above guessing is "large", and from where "severe". The lowest FPRs lead:
they tell what happens to a person, where averages tell what happens to most."""

VERDICT_CONFIDENCE = 1 - 2 * ERROR / (len(LIMITS) - 1)
"""Of the two-sided intervals of a verdict without canaries: each figure gets its share of the
error, all of it at the lower end."""

_TOO_WIDE = 0.2
"""Where no leak is shown, an advantage of so much must be excluded, or records are too few."""


@dataclass(frozen=True)
class Verdict:
    """What an audit shows.

    Attributes:
        level: "none shown", "small", "large", "severe", "too few records" or "not attacked".
        reason: the figure that decides, in words.
        figure: the metric that decides, empty where none does.
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
    """Return the verdict on figures whose intervals cover together; `LIMITS` has their order."""
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
    """Return the verdict that more than half of the seeds reach at least.

    Its error stays below that of one seed, however many seeds there are.
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
    """Return the largest advantage that a figure leaves possible; 0 where it says nothing of it.

    Of AUC A it is 2A - 1, as ROC curves of the best rules are concave: an attack that decides alike
    for all records has an advantage of 0 for sure, and says nothing of better thresholds.
    """
    high = figure.interval[1]
    return {"advantage": high, "auc": 2 * high - 1}.get(figure.metric, 0.0)


def _grade(figure: Figure) -> Level:
    large, severe = LIMITS[figure.metric]
    value = round(figure.value, 9)  # 0.7 - 0.4 is a little less than 0.3
    if value >= severe:
        return "severe"
    return "large" if value >= large else "small"
