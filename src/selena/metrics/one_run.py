"""Lower bounds on epsilon from one training whose canaries were each included by a fair coin.

The auditor guesses which canaries were trained on, and abstains where unsure. Two bounds take the
number of correct guesses:

- `epsilon_lower_bound` (Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run",
  NeurIPS 2023) rejects (epsilon, delta)-differential privacy, whatever the mechanism.
- `gaussian_epsilon_lower_bound` (Mahloujifar, Melis & Chaudhuri, "Auditing f-Differential Privacy
  in One Run", ICML 2025) rejects the trade-off curve of a Gaussian mechanism. It is tighter, and it
  is a statement on Gaussian mechanisms only, such as DP-SGD is close to after many steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import exp
from typing import Any

import numpy as np
from jaxtyping import Bool, Num
from scipy.optimize import brentq
from scipy.special import bdtrc, expit, gammaln, log_ndtr, ndtr, ndtri

from selena.errors import ConfigError
from selena.metrics.inputs import check_scores

SHARES = (0.02, 0.05, 0.1, 0.25, 0.45)
"""Of all canaries, so many are guessed at either end; the bound counts that it is the best one.

Less than a half: coins rarely fall evenly, and then perfect knowledge would still guess some wrong.
"""

_LARGEST, _PRECISION = 50.0, 1e-4


@dataclass(frozen=True)
class EpsilonBound:
    """What the guesses prove.

    Attributes:
        epsilon: the training is not (epsilon', delta)-differentially private for any smaller
            epsilon', with the confidence asked for; 0 where nothing is shown.
        delta: the delta it is a bound for.
        guesses: how many canaries were guessed, members and non-members.
        correct: how many of the guesses were right.
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
) -> EpsilonBound:
    """Return the best lower bound among five numbers of guesses; the error is divided among them.

    The highest scores are guessed to be members, as many of the lowest non-members. Among equal
    scores the wrong ones are guessed, so that ties prove nothing.

    Args:
        scores: of canaries, higher = member.
        truth: True for those that were trained on, each by a fair coin of its own.
        delta: in [0, 1).
        confidence: of the bound.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
        ConfigError: `delta` or `confidence` out of range.
    """

    def rejects(error: float, m: int, guesses: int, correct: int, epsilon: float) -> bool:
        return _likelihood(m, guesses, correct, epsilon, delta) < error

    return _best_bound(scores, truth, delta, confidence, rejects)


def gaussian_epsilon_lower_bound(
    scores: Num[np.ndarray, " m"],
    truth: Bool[np.ndarray, " m"],
    *,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> EpsilonBound:
    """Return the best lower bound on the epsilon of a Gaussian trade-off curve.

    The bound rejects mu-Gaussian differential privacy for all mu below some value, and states the
    epsilon that this mu has at `delta` (Dong, Roth & Su 2022, Corollary 2.13). Guesses are made and
    paid for as in `epsilon_lower_bound`.

    Args:
        scores: of canaries, higher = member.
        truth: True for those that were trained on, each by a fair coin of its own.
        delta: in (0, 1); only converts mu to epsilon.
        confidence: of the bound.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
        ConfigError: `delta` or `confidence` out of range.
    """
    if not delta > 0:
        raise ConfigError(f"A Gaussian mechanism has no epsilon at delta={delta}; give delta > 0.")
    found = _best_bound(scores, truth, delta, confidence, _rejects_gaussian)
    return replace(found, epsilon=epsilon_of_gaussian(found.epsilon, delta))


def _best_bound(
    scores: Num[np.ndarray, " m"],
    truth: Bool[np.ndarray, " m"],
    delta: float,
    confidence: float,
    rejects: Callable[[float, int, int, int, float], bool],
) -> EpsilonBound:
    """Return the largest bound that some number of guesses gives; `rejects` tests one value."""
    scores = check_scores(scores, truth)
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"A bound needs delta in [0, 1) and confidence in (0, 1); got {delta}, {confidence}."
        )
    m = len(scores)
    highest = truth[np.lexsort((truth, -scores))]
    lowest = ~truth[np.lexsort((~truth, scores))]
    error = (1 - confidence) / len(SHARES)
    best: EpsilonBound | None = None
    for share in SHARES:
        k = min(max(1, round(share * m)), m // 2)
        correct = int(highest[:k].sum() + lowest[:k].sum())
        least = 0.0 if best is None else best.epsilon
        value = _largest_rejected(partial(rejects, error, m, 2 * k, correct), least)
        if best is None or value > least:
            best = EpsilonBound(value, delta, 2 * k, correct)
    assert best is not None
    return best


def _largest_rejected(rejects: Callable[[float], bool], least: float) -> float:
    """Return the end of the values that are rejected, or `least` if that is not rejected."""
    low, high = least, _LARGEST
    if not rejects(low):
        return low
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if rejects(middle) else (low, middle)
    return low


def _rejects_gaussian(error: float, m: int, guesses: int, correct: int, mu: float) -> bool:
    """Return whether `correct` of `guesses` are too many for mu-GDP (Algorithms 2 and 3, k = 2).

    If at least `correct` right guesses had a probability above `error`, the recursion would bound
    from below, count by count, the expected shares of canaries that are guessed rightly (r) and
    wrongly (h). Together they cannot exceed the share of canaries that are guessed at all.
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


def _likelihood(m: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Return a bound on the probability of at least `correct` right guesses (Theorem 5.2)."""
    if correct == 0:
        return 1.0
    right = float(expit(epsilon))
    pure = float(bdtrc(correct - 1, guesses, right))
    counts = np.arange(correct - 1, -1, -1)
    # log(1 - expit(e)) = -e - log(1 + exp(-e)): written so that it stays finite.
    log_wrong = -epsilon - np.log1p(exp(-epsilon))
    logs = (
        gammaln(guesses + 1)
        - gammaln(counts + 1)
        - gammaln(guesses - counts + 1)
        + counts * np.log(right)
        + (guesses - counts) * log_wrong
    )
    below = np.cumsum(np.exp(logs)) / np.arange(1, correct + 1)
    return min(1.0, pure + 2 * m * delta * float(below.max()))
