"""Lower bounds on epsilon from one training that includes each canary by a fair coin.

The auditor guesses which canaries were trained on, and abstains if unsure. Two bounds use the
number of correct guesses:

- `epsilon_lower_bound` (Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run",
  NeurIPS 2023) rejects (epsilon, delta)-differential privacy for any mechanism.
- `gaussian_epsilon_lower_bound` (Mahloujifar, Melis & Chaudhuri, "Auditing f-Differential Privacy
  in One Run", ICML 2025) rejects the trade-off curve of a Gaussian mechanism. It is tighter, but it
  holds for Gaussian mechanisms only; DP-SGD is nearly one after many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from math import exp, sqrt
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Num
from scipy.optimize import brentq
from scipy.special import bdtrc, betaincinv, expit, gammaln, log_expit, log_ndtr, logit, ndtr, ndtri

from selena.errors import ConfigError
from selena.metrics.roc import check_scores

SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.19, 0.25, 0.32, 0.38, 0.45)
"""Shares of all canaries to guess at either end; the bound is the best, corrected for the choice.

They are below one half: coins rarely fall evenly, so even perfect knowledge would guess some wrong.
"""

GAUSSIAN_SHARES = (0.02, 0.05, 0.1, 0.25, 0.45)
"""The same for the Gaussian bound, which divides its error among the shares."""

_LARGEST, _PRECISION = 50.0, 1e-4
_MOST_SHIFTS = 64


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound on epsilon that guesses prove.

    Attributes:
        epsilon: the training is not (epsilon', delta)-differentially private for any smaller
            epsilon', with the given confidence; 0 if nothing is shown.
        delta: the delta of the bound.
        guesses: number of guessed canaries, members and non-members.
        correct: number of right guesses.
    """

    epsilon: float
    delta: float
    guesses: int
    correct: int

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def epsilon_lower_bound(
    scores: Num[np.ndarray, " m"],
    truth: Bool[np.ndarray, " m"],
    *,
    delta: float = 1e-5,
    confidence: float = 0.95,
    guesses: int | None = None,
) -> EpsilonBound:
    """Return the best lower bound among twelve numbers of guesses, corrected for the choice.

    The highest scores are guessed to be members, and as many of the lowest non-members. Among equal
    scores the wrong guesses come first, so that ties prove nothing.

    Each number of guesses has its own bound, and choosing the best one is optimistic. Guesses are
    made in order of confidence, and by Theorem 5.2 of Steinke et al. their successes are jointly
    dominated by independent coins that are right with probability e^eps / (1 + e^eps). So the
    probability that the best of all numbers is as good as observed is known, and the error need not
    be divided among them. The theorem's correction for delta is applied to the probability of that
    event.

    Args:
        scores: scores of canaries, higher = member.
        truth: True for those that were trained on, each by its own fair coin.
        delta: in [0, 1).
        confidence: confidence of the bound.
        guesses: number of guessed canaries, members and non-members together, if it was fixed
            before any score was seen; then no correction is needed.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
        ConfigError: `delta`, `confidence` or `guesses` out of range.
    """
    highest, lowest = _right_guesses(scores, truth, delta, confidence)
    m = len(highest)
    if guesses is not None and (not 2 <= guesses <= m or guesses % 2):
        raise ConfigError(f"guesses is {guesses}; give an even number from 2 to {m // 2 * 2}.")
    sizes = tuple(sorted({_ends(share, m) for share in SHARES}))
    if guesses is not None:
        sizes = (guesses // 2,)
    error = 1 - confidence
    found = [(2 * k, int(highest[:k].sum() + lowest[:k].sum())) for k in sizes]
    best, right = max(found, key=lambda each: (_limit(each[0], each[1], error), each[0]))
    value = _joint_bound(m, tuple(2 * k for k in sizes), best, right, delta, error)
    return EpsilonBound(value, delta, best, right)


def gaussian_epsilon_lower_bound(
    scores: Num[np.ndarray, " m"],
    truth: Bool[np.ndarray, " m"],
    *,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> EpsilonBound:
    """Return the best lower bound on the epsilon of a Gaussian trade-off curve.

    The bound rejects mu-Gaussian differential privacy for all mu below some value, and converts
    that mu to epsilon at `delta` (Dong, Roth & Su 2022, Corollary 2.13). Guesses are made as in
    `epsilon_lower_bound`, and five numbers of guesses share the error.

    Args:
        scores: scores of canaries, higher = member.
        truth: True for those that were trained on, each by its own fair coin.
        delta: in (0, 1); only converts mu to epsilon.
        confidence: confidence of the bound.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
        ConfigError: `delta` or `confidence` out of range.
    """
    if not delta > 0:
        raise ConfigError(f"A Gaussian mechanism has no epsilon at delta={delta}; give delta > 0.")
    highest, lowest = _right_guesses(scores, truth, delta, confidence)
    m, error = len(highest), (1 - confidence) / len(GAUSSIAN_SHARES)
    best: EpsilonBound | None = None
    for share in GAUSSIAN_SHARES:
        k = _ends(share, m)
        correct = int(highest[:k].sum() + lowest[:k].sum())
        least = 0.0 if best is None else best.epsilon
        rejects = partial(_rejects_gaussian, error, m, 2 * k, correct)
        value = _largest_rejected(rejects, least)
        if best is None or value > least:
            best = EpsilonBound(value, delta, 2 * k, correct)
    assert best is not None
    return replace(best, epsilon=epsilon_of_gaussian(best.epsilon, delta))


def _right_guesses(
    scores: Num[np.ndarray, " m"], truth: Bool[np.ndarray, " m"], delta: float, confidence: float
) -> tuple[Bool[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """Return whether each guess is right, the most confident first, of members and non-members."""
    scores = check_scores(scores, truth)
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"A bound needs delta in [0, 1) and confidence in (0, 1); got {delta}, {confidence}."
        )
    return truth[np.lexsort((truth, -scores))], ~truth[np.lexsort((~truth, scores))]


def _ends(share: float, m: int) -> int:
    """Return the number of canaries to guess at either end."""
    return min(max(1, round(share * m)), m // 2)


def _limit(guesses: int, correct: int, error: float) -> float:
    """Return the log-odds that this many right guesses would show at a part of the error.

    Only a part, because the best of several is taken. The part determines how different numbers
    of guesses compare.
    """
    if correct == 0:
        return -np.inf
    return float(logit(betaincinv(correct, guesses - correct + 1, error / 4)))


@lru_cache(maxsize=4096)
def _joint_bound(
    m: int, sizes: Sequence[int], guesses: int, correct: int, delta: float, error: float
) -> float:
    """Return the largest epsilon that the best of several numbers of guesses rejects.

    The statistic, the largest `_limit`, increases with each right guess. So its probability
    increases with epsilon, and the rejected values are an interval that starts at 0.
    """
    seen = _limit(guesses, correct, error)
    if correct == 0:
        return 0.0
    p = float(expit(seen))
    checks = []
    for size in sizes:
        tail = bdtrc(np.arange(-1.0, size), size, p)  # P(at least 0, 1, ... right guesses)
        tail[0] = 1.0
        enough = tail <= error / 4 * (1 + 1e-9)
        checks.append((size, int(enough.argmax()) if enough.any() else size + 1))

    def rejects(epsilon: float) -> bool:
        # Most values are decided without delta.
        if _crossing(checks, epsilon, 0) >= error:
            return False
        return _chance(checks, m, delta, epsilon) < error

    return _largest_rejected(rejects, 0.0)


def _chance(checks: Sequence[tuple[int, int]], m: int, delta: float, epsilon: float) -> float:
    """Return an upper bound on the probability that any of some counts is reached.

    Each count is (guesses, right ones). This is Theorem 5.2 for that event: delta alone may make j
    guesses right.
    """
    at_once, rise = _crossing(checks, epsilon, 0), 0.0
    for j in range(1, _MOST_SHIFTS + 1):
        if delta == 0 or (1 - at_once) / j <= rise:
            break
        rise = max(rise, (_crossing(checks, epsilon, j) - at_once) / j)
    else:
        rise = max(rise, (1 - at_once) / (_MOST_SHIFTS + 1))
    return min(1.0, at_once + 2 * m * delta * rise)


def _crossing(checks: Sequence[tuple[int, int]], epsilon: float, shift: int) -> float:
    """Return the probability that coins reach a count: (tosses, right ones minus `shift`)."""
    counts, first, before, crossed = np.ones(1), 0, 0, 0.0
    for tosses, enough in checks:
        step, low = _binomial(tosses - before, epsilon)
        counts, first, before = np.convolve(counts, step), first + low, tosses
        cut = max(0, enough - shift - first)
        crossed += float(counts[cut:].sum())
        counts = counts[:cut]
        if not len(counts):
            break
    return min(1.0, crossed)


def _binomial(n: int, epsilon: float) -> tuple[Float64[np.ndarray, " w"], int]:
    """Return probabilities of numbers of right guesses among n, and the first of these numbers.

    A guess is right with log-odds epsilon. Probabilities below 1e-20 are left out.
    """
    right, wrong = float(expit(epsilon)), float(expit(-epsilon))
    around, spread = n * right, 10 * sqrt(n * right * wrong) + 50
    low, high = max(0, int(around - spread)), min(n, int(around + spread) + 1)
    counts = np.arange(low, high + 1)
    logs = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    return np.exp(logs + counts * log_expit(epsilon) + (n - counts) * log_expit(-epsilon)), low


def _largest_rejected(rejects: Callable[[float], bool], least: float) -> float:
    """Return the largest rejected value, or `least` if that is not rejected."""
    low, high = least, _LARGEST
    if not rejects(low):
        return low
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if rejects(middle) else (low, middle)
    return low


def _rejects_gaussian(error: float, m: int, guesses: int, correct: int, mu: float) -> bool:
    """Return whether `correct` of `guesses` are too many for mu-GDP (Algorithms 2 and 3, k = 2).

    Assume that at least `correct` right guesses have a probability above `error`. Then the
    recursion bounds from below, count by count, the expected shares of canaries that are guessed
    right (r) and wrong (h). Their sum cannot exceed the share of guessed canaries.
    """
    right = error * correct / m
    wrong = error * (guesses - correct) / m
    for i in range(correct - 1, -1, -1):
        following = max(wrong, float(ndtr(ndtri(min(right, 1.0)) - mu)))
        right += i / (guesses - i) * (following - wrong)
        wrong = following
    return right + wrong > guesses / m


def epsilon_of_gaussian(mu: float, delta: float) -> float:
    """Return epsilon of mu-GDP at `delta` (Dong, Roth & Su 2022, Corollary 2.13)."""
    if mu == 0:
        return 0.0

    def excess(epsilon: float) -> float:
        second = exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2)))
        return float(ndtr(-epsilon / mu + mu / 2)) - second - delta

    if excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, mu * (mu + 40), xtol=1e-9))
