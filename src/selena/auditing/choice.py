"""Chooses the attack for each figure: the best one in that figure on known records.

A choice on the evaluation records would report the luckiest attack instead of the strongest one.
Attacks are compared by the lower end of their one-sigma interval on known records. A trained attack
is judged by the few records that it held out, and without the interval noise would win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from selena.auditing.figure import DECISION_METRICS, EPSILON, Figure, chance, fpr_of
from selena.auditing.results import AttackResult
from selena.metrics.intervals import ONE_SIGMA, Interval, auc_interval, wilson
from selena.metrics.low_fpr import TprAtFpr, tpr_at_fpr
from selena.metrics.one_run import epsilon_lower_bound
from selena.metrics.summary import CONFIDENCE, LOW_FPRS


@dataclass(frozen=True)
class Candidate:
    """An attack with one kind of threshold, on known records.

    Attributes:
        result: the attack.
        variant: "global" or "per_class"; None for figures of the ranking.
        value: the metric on known records.
        interval: its one-sigma interval there.
        rank: key by which candidates are compared; higher is better.
    """

    result: AttackResult
    variant: str | None
    value: float
    interval: Interval
    rank: tuple[float, ...]

    @property
    def attack(self) -> str:
        """NAME, or NAME/VARIANT."""
        return f"{self.result.name}/{self.variant}" if self.variant else self.result.name


def choose(results: Iterable[AttackResult], metric: str) -> tuple[Candidate, list[Candidate]]:
    """Return the best candidate in `metric` on known records, and those tied with it.

    Raises:
        ConfigError: an unknown metric, or a FPR outside (0, 1].
    """
    chance(metric)  # raises for an unknown metric
    candidates = [each for result in results for each in _candidates(result, metric)]
    best = max(candidates, key=lambda each: each.rank)
    tied = [each for each in candidates if each is not best and each.interval[1] >= best.value]
    return best, sorted(tied, key=lambda each: each.rank, reverse=True)


def chosen_figure(
    results: Sequence[AttackResult], metric: str, *, confidence: float = 0.95
) -> Figure:
    """Return `metric` on evaluation records, for the best attack in it on known records.

    Args:
        results: the attacks to choose from.
        metric: see `Figure`; "epsilon" needs canaries.
        confidence: confidence of the interval, or of the bound for "epsilon".
    """
    best, tied = choose(results, metric)
    value, interval, point = _evaluate(best, metric, confidence)
    summary = best.result.variants[best.variant or "global"].summary
    canaries = best.result.canaries
    scored = canaries.summary if metric == EPSILON and canaries else summary
    return Figure(
        metric=metric,
        value=value,
        interval=interval,
        attack=best.attack,
        family=best.result.family,
        access=best.result.access,
        queries_per_record=best.result.queries_per_record,
        members=scored.members,
        non_members=scored.non_members,
        known_value=best.value,
        ties=tuple(each.attack for each in tied),
        resolved=point is None or point.resolved,
        needed_non_members=0 if point is None else point.needed_non_members,
    )


def _candidates(result: AttackResult, metric: str) -> list[Candidate]:
    if metric in DECISION_METRICS:
        scale: Callable[[float], float] = float if metric != "advantage" else _as_advantage
        return [
            Candidate(result, name, scale(value), (scale(low), scale(high)), (low,))
            for name, variant in result.variants.items()
            for value in [variant.known_accuracy]
            for low, high in [wilson(value, variant.known_records, confidence=ONE_SIGMA)]
        ]
    auc, area = result.known.auc, result.known.auc_interval
    if metric == "auc":
        return [Candidate(result, None, auc, area, (area[0],))]
    if metric == EPSILON:
        # Known records are no canaries, so here the bound only serves to compare attacks.
        known = result.scores.calibration
        value = epsilon_lower_bound(known.scores, known.truth).epsilon
        return [Candidate(result, None, value, (value, value), (value, area[0]))]
    return [_at_fpr(result, _fpr(metric), area)]


def _at_fpr(result: AttackResult, fpr: float, area: Interval) -> Candidate:
    """Compare by the TPR at `fpr`, or by coarser figures if there are too few known records."""
    known = result.known.tpr_at_fpr
    first = known.get(fpr) or tpr_at_fpr(result.known_curve, fpr, confidence=ONE_SIGMA)
    points = [first, *(known[each] for each in sorted(LOW_FPRS) if each > fpr)]
    rank = (*(point.interval[0] for point in points), area[0])
    return Candidate(result, None, points[0].tpr, points[0].interval, rank)


def _evaluate(
    best: Candidate, metric: str, confidence: float
) -> tuple[float, Interval, TprAtFpr | None]:
    result, scored = best.result, best.result.scores.evaluation
    if metric == EPSILON:
        assert result.canaries is not None and result.scores.canaries is not None
        planted = result.scores.canaries
        bound = epsilon_lower_bound(
            planted.scores,
            planted.truth,
            delta=result.canaries.bound.delta,
            confidence=confidence,
        )
        return bound.epsilon, (bound.epsilon, inf), None
    if best.variant is not None:
        summary = result.variants[best.variant].summary
        low, high = summary.advantage_at(confidence)
        if metric == "advantage":
            return summary.advantage, (low, high), None
        return summary.balanced_accuracy, ((1 + low) / 2, (1 + high) / 2), None
    ranking = result.variants["global"].summary
    kept = confidence == CONFIDENCE  # reused, since intervals of many records take seconds
    if metric == "auc":
        interval = ranking.auc_interval
        if not kept:
            interval = auc_interval(scored.scores, scored.truth, confidence=confidence)
        return ranking.auc, interval, None
    point = ranking.tpr_at_fpr.get(_fpr(metric)) if kept else None
    point = point or tpr_at_fpr(result.curve, _fpr(metric), confidence=confidence)
    return point.tpr, point.interval, point


def _fpr(metric: str) -> float:
    fpr = fpr_of(metric)
    assert fpr is not None
    return fpr


def _as_advantage(accuracy: float) -> float:
    return 2 * accuracy - 1
