"""A lower bound on epsilon from one training whose canaries were put in by coins of their own.

Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023. The auditor
guesses which canaries were trained on, and abstains where unsure. Under (epsilon, delta)
differential privacy so many right guesses are hardly likelier than those of as many biased coins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp
from typing import Any

import numpy as np
from jaxtyping import Bool, Num
from scipy.special import bdtrc, expit, gammaln

from selena.errors import ConfigError
from selena.metrics.inputs import check_scores

SHARES = (0.02, 0.05, 0.1, 0.25, 0.45)
"""Of all canaries, so many are guessed at either end; the bound counts that it is the best one.

Less than a half: coins seldom fall evenly, and then even who knows all would guess some wrong.
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
    """Return the best lower bound among some numbers of guesses, all of which hold together.

    The highest scores are guessed members, as many of the lowest non-members. Among equal scores
    the wrong ones are guessed, so that ties prove nothing.

    Args:
        scores: of canaries, higher = member.
        truth: True for those that were trained on, each by a fair coin of its own.
        delta: in [0, 1).
        confidence: that the bound holds.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
        ConfigError: `delta` or `confidence` out of range.
    """
    scores = check_scores(scores, truth)
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise ConfigError(
            f"A bound needs delta in [0, 1) and confidence in (0, 1); got {delta}, {confidence}."
        )
    m = len(scores)
    highest = truth[np.lexsort((truth, -scores))]
    lowest = ~truth[np.lexsort((~truth, scores))]
    bounds = []
    for share in SHARES:
        k = min(max(1, round(share * m)), m // 2)
        correct = int(highest[:k].sum() + lowest[:k].sum())
        error = (1 - confidence) / len(SHARES)
        bounds.append(EpsilonBound(_bound(m, 2 * k, correct, delta, error), delta, 2 * k, correct))
    return max(bounds, key=lambda bound: bound.epsilon)


def _bound(m: int, guesses: int, correct: int, delta: float, error: float) -> float:
    """Return the largest epsilon under which so many right guesses are less likely than `error`."""
    low, high = 0.0, _LARGEST
    if _likelihood(m, guesses, correct, low, delta) >= error:
        return 0.0
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if _likelihood(m, guesses, correct, middle, delta) < error:
            low = middle
        else:
            high = middle
    return low


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
