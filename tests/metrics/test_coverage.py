"""Every printed interval covers the true value in at least 93 % of the cases, by simulation.

Seeds are fixed, so a verdict never changes from run to run. The share that must cover is 93 % less
three standard deviations of a binomial count: an interval that covers 93 % would fail for one
seed in 700.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from selena.auditing.report import Accuracy
from selena.auditing.run import _trials
from selena.metrics import LOW_FPRS, roc_curve, summarize, tpr_at_fpr

COVERED = 0.93


@dataclass(frozen=True)
class Law:
    """How scores of members and non-members are distributed, and the true figures.

    Attributes:
        members, non_members: draw n scores.
        tail: P(score >= t) of members and of non-members.
        auc: the true AUC.
        tpr: the true TPR at a FPR.
        cut: the threshold of the decisions.
    """

    members: Callable[[np.random.Generator, int], np.ndarray]
    non_members: Callable[[np.random.Generator, int], np.ndarray]
    tail: Callable[[float], tuple[float, float]]
    auc: float
    tpr: Callable[[float], float]
    cut: float


def normal(mean: float) -> Law:
    return Law(
        lambda draw, n: draw.normal(mean, 1, n),
        lambda draw, n: draw.normal(0, 1, n),
        lambda t: (stats.norm.sf(t - mean), stats.norm.sf(t)),
        float(stats.norm.cdf(mean / sqrt(2))),
        lambda fpr: float(stats.norm.sf(stats.norm.isf(fpr) - mean)),
        mean / 2,
    )


def heavy() -> Law:
    """Cauchy scores, one apart: the AUC is that of a Cauchy difference of scale 2."""
    return Law(
        lambda draw, n: draw.standard_cauchy(n) + 1,
        lambda draw, n: draw.standard_cauchy(n),
        lambda t: (stats.cauchy.sf(t - 1), stats.cauchy.sf(t)),
        float(stats.cauchy.cdf(1 / 2)),
        lambda fpr: float(stats.cauchy.sf(stats.cauchy.isf(fpr) - 1)),
        0.5,
    )


def exposed() -> Law:
    """One member in twenty scores far above all others."""
    apart, share = 6.0, 0.05

    def members(draw: np.random.Generator, n: int) -> np.ndarray:
        return draw.normal(0, 1, n) + apart * (draw.random(n) < share)

    def tail(t: float) -> tuple[float, float]:
        plain = float(stats.norm.sf(t))
        return (1 - share) * plain + share * float(stats.norm.sf(t - apart)), plain

    return Law(
        members,
        lambda draw, n: draw.normal(0, 1, n),
        tail,
        (1 - share) / 2 + share * float(stats.norm.cdf(apart / sqrt(2))),
        lambda fpr: tail(float(stats.norm.isf(fpr)))[0],
        0.0,
    )


def levels(mean: float) -> Law:
    """Scores of five values: what a normal score is worth by four cuts."""
    cuts = np.array([-1.0, 0.0, 1.0, 2.0])

    def graded(scores: np.ndarray) -> np.ndarray:
        return np.asarray(np.digitize(scores, cuts), dtype=float)

    def tail(t: float) -> tuple[float, float]:
        edge = np.append(-np.inf, cuts)[round(t)]
        return float(stats.norm.sf(edge - mean)), float(stats.norm.sf(edge))

    tails = [tail(level) for level in range(5)]
    p = -np.diff([a for a, _ in tails] + [0.0])
    q = -np.diff([b for _, b in tails] + [0.0])
    auc = float(sum(p[i] * (q[:i].sum() + q[i] / 2) for i in range(5)))
    return Law(
        lambda draw, n: graded(draw.normal(mean, 1, n)),
        lambda draw, n: graded(draw.normal(0, 1, n)),
        tail,
        auc,
        lambda fpr: max([0.0] + [a for a, b in tails if b <= fpr]),
        2.0,
    )


LAWS = {
    "harmless": normal(0),
    "weak": normal(0.5),
    "medium": normal(1),
    "strong": normal(2),
    "near-one": normal(3),
    "heavy-tails": heavy(),
    "exposed": exposed(),
    "five-levels": levels(1),
    "five-levels-strong": levels(3),
}


def shares_covered(law: Law, n: int, repetitions: int, seed: int) -> dict[str, float]:
    """Return for each figure how often its interval covered the true value."""
    truth = np.arange(2 * n) < n
    above = law.tail(law.cut)
    true = {"advantage": above[0] - above[1], "auc": law.auc}
    true["balanced_accuracy"] = (1 + true["advantage"]) / 2
    true |= {f"tpr {fpr}": law.tpr(fpr) for fpr in LOW_FPRS}
    hits = dict.fromkeys(true, 0)
    draw = np.random.default_rng(seed)
    for _ in range(repetitions):
        scores = np.concatenate([law.members(draw, n), law.non_members(draw, n)])
        found = summarize(scores, scores >= law.cut, truth)
        intervals = {
            "advantage": found.advantage_interval,
            "balanced_accuracy": found.balanced_accuracy_interval,
            "auc": found.auc_interval,
            **{f"tpr {fpr}": point.interval for fpr, point in found.tpr_at_fpr.items()},
        }
        for name, (low, high) in intervals.items():
            hits[name] += low - 1e-9 <= true[name] <= high + 1e-9
    return {name: count / repetitions for name, count in hits.items()}


def assert_covered(shares: dict[str, float], repetitions: int) -> None:
    slack = 3 * sqrt(COVERED * (1 - COVERED) / repetitions)
    assert {name: share for name, share in shares.items() if share < COVERED - slack} == {}


@pytest.mark.parametrize(
    ("law", "n"), [*((law, 100) for law in LAWS), ("medium", 1000), ("five-levels", 1000)]
)
def test_intervals_cover(law: str, n: int) -> None:
    assert_covered(shares_covered(LAWS[law], n, 100, seed=n), 100)


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 300, 1000, 5000])
@pytest.mark.parametrize("law", LAWS)
def test_intervals_cover_closely(law: str, n: int) -> None:
    assert_covered(shares_covered(LAWS[law], n, 2000, seed=n), 2000)


@pytest.mark.parametrize("subjects", [50, 300])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.97])
def test_accuracy_of_subjects_covers(subjects: int, rate: float) -> None:
    draw, repetitions, hits = np.random.default_rng(subjects), 200, 0
    for _ in range(repetitions):
        sizes = draw.integers(1, 10, subjects)
        own = draw.beta(rate, 1 - rate, subjects)  # rows of a subject are right or wrong together
        of = np.repeat(np.arange(subjects), sizes)
        right = draw.random(len(of)) < own[of]
        low, high = Accuracy.of(int(right.sum()), len(of), _trials(right, of)).interval
        hits += low <= rate <= high
    assert_covered({"accuracy": hits / repetitions}, repetitions)


@pytest.mark.parametrize("n", [300, 1000])
def test_realized_fpr_is_covered(n: int) -> None:
    draw, repetitions, hits = np.random.default_rng(n), 150, 0
    truth = np.arange(2 * n) < n
    for _ in range(repetitions):
        scores = draw.normal(truth * 1.0, 1)
        point = tpr_at_fpr(roc_curve(scores, truth), 0.01)
        lowest = np.sort(scores[~truth])[::-1][point.allowed_false_positives]
        low, high = point.realized_fpr_interval
        within = scores[scores > lowest].min()  # the threshold that the rule takes
        hits += low <= float(stats.norm.sf(within)) <= high
    assert_covered({"fpr": hits / repetitions}, repetitions)
