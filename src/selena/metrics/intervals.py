"""Confidence intervals: of a proportion, of an advantage, of an AUC.

All are two-sided. `comparisons` divides the error probability among that many intervals
(Bonferroni), so that all of them hold together with the given confidence.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from jaxtyping import Bool, Float, Num

# Not scipy.stats, which takes every command a second to import.
from scipy.special import betainccinv, betaincinv, ndtri

from selena.errors import ConfigError, DataError
from selena.metrics.inputs import check_scores

Interval = tuple[float, float]
"""Lower and upper end."""


def clopper_pearson(
    successes: int, trials: int, *, confidence: float = 0.95, comparisons: int = 1
) -> Interval:
    """Return the exact interval of a proportion (Clopper & Pearson 1934), within [0, 1].

    Raises:
        DataError: no trials, or more successes than trials.
        ConfigError: `confidence` outside (0, 1), or `comparisons` below 1.
    """
    _check_counts(successes, trials)
    tail = _error(confidence, comparisons) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = betainccinv(successes + 1, trials - successes, tail) if successes < trials else 1.0
    return float(low), float(high)


def wilson(
    proportion: float, trials: int, *, confidence: float = 0.95, comparisons: int = 1
) -> Interval:
    """Return the score interval of a proportion in [0, 1] (Wilson 1927), within [0, 1].

    Raises:
        DataError: no trials.
        ConfigError: `confidence` outside (0, 1), or `comparisons` below 1.
    """
    _check_counts(0, trials)
    z = _quantile(confidence, comparisons)
    center = (proportion + z * z / (2 * trials)) / (1 + z * z / trials)
    variance = proportion * (1 - proportion) / trials + z * z / (4 * trials * trials)
    half = z * sqrt(variance) / (1 + z * z / trials)
    # At 0 and 1 an end is exact; rounding must not move it past the proportion.
    return max(0.0, min(proportion, center - half)), min(1.0, max(proportion, center + half))


def advantage_interval(
    true_positives: int,
    members: int,
    false_positives: int,
    non_members: int,
    *,
    confidence: float = 0.95,
    comparisons: int = 1,
) -> Interval:
    """Return the interval of advantage = TPR - FPR, within [-1, 1].

    Newcombe's hybrid-score interval of a difference of independent proportions (Newcombe
    1998, Statistics in Medicine 17:873, method 10). That of balanced accuracy is
    (1 + advantage) / 2, end by end.

    Raises:
        DataError: no members or no non-members, or more positives than records.
        ConfigError: `confidence` outside (0, 1), or `comparisons` below 1.
    """
    _check_counts(true_positives, members)
    _check_counts(false_positives, non_members)
    tpr, fpr = true_positives / members, false_positives / non_members
    tpr_low, tpr_high = wilson(tpr, members, confidence=confidence, comparisons=comparisons)
    fpr_low, fpr_high = wilson(fpr, non_members, confidence=confidence, comparisons=comparisons)
    low = tpr - fpr - sqrt((tpr - tpr_low) ** 2 + (fpr_high - fpr) ** 2)
    high = tpr - fpr + sqrt((tpr_high - tpr) ** 2 + (fpr - fpr_low) ** 2)
    return max(-1.0, low), min(1.0, high)


def auc_interval(
    scores: Num[np.ndarray, " n"],
    truth: Bool[np.ndarray, " n"],
    *,
    confidence: float = 0.95,
    comparisons: int = 1,
) -> Interval:
    """Return the interval of the AUC, within [0, 1] (DeLong et al. 1988).

    Computed from midranks in O(n log n) (Sun & Xu 2014, IEEE Signal Processing Letters 21).

    DeLong's variance is zero where the scores separate the sets perfectly (AUC 0 or 1) or are
    all equal (AUC 0.5), and undefined for a single member or non-member. An interval of zero
    width would be a false claim; there the score interval of Wilson is returned with
    min(members, non-members) trials: the variance of an AUC A never exceeds
    A (1 - A) / min(members, non-members) (Birnbaum & Klose 1957).

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
        ConfigError: `confidence` outside (0, 1), or `comparisons` below 1.
    """
    scores = check_scores(scores, truth)
    members, non_members = int(truth.sum()), int((~truth).sum())
    rank = _midranks(scores)
    # Share of the other set that lies below (members) or above (non-members), ties half.
    below = (rank[truth] - _midranks(scores[truth])) / non_members
    above = 1 - (rank[~truth] - _midranks(scores[~truth])) / members
    auc = float(below.mean())
    fewest = min(members, non_members)
    variance = 0.0
    if fewest > 1:
        variance = float(below.var(ddof=1) / members + above.var(ddof=1) / non_members)
    if variance <= 0.0:
        return wilson(auc, fewest, confidence=confidence, comparisons=comparisons)
    half = _quantile(confidence, comparisons) * sqrt(variance)
    return max(0.0, auc - half), min(1.0, auc + half)


def _midranks(values: Num[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return each value's place in rising order, from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _error(confidence: float, comparisons: int) -> float:
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; it must lie between 0 and 1, as 0.95 does.")
    if comparisons < 1:
        raise ConfigError(f"comparisons is {comparisons}; it counts intervals, so at least 1.")
    return (1 - confidence) / comparisons


def _quantile(confidence: float, comparisons: int) -> float:
    return -float(ndtri(_error(confidence, comparisons) / 2))


def _check_counts(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials or trials == 0:
        raise DataError(
            f"{successes} out of {trials} is no proportion. Give at least one record, and no "
            "more positives than records."
        )
