"""The exact ROC curve of a score.

The rule is always "score >= threshold means member". Records of one score are decided together, so
a curve has one corner per distinct score, and ties are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from selena.errors import ConfigError
from selena.metrics.inputs import check_scores


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve as counts.

    Attributes:
        thresholds: the m distinct scores, in descending order.
        true_positives: m + 1 counts; the first is 0 (no record is called a member), number i + 1
            counts the members with score >= thresholds[i].
        false_positives: the same for non-members.
    """

    thresholds: Float[np.ndarray, " m"]
    true_positives: Int[np.ndarray, " m+1"]
    false_positives: Int[np.ndarray, " m+1"]

    @property
    def members(self) -> int:
        """Number of members."""
        return int(self.true_positives[-1])

    @property
    def non_members(self) -> int:
        """Number of non-members."""
        return int(self.false_positives[-1])

    @property
    def tpr(self) -> Float[np.ndarray, " k"]:
        """True-positive rate at each corner."""
        return self.true_positives / self.members

    @property
    def fpr(self) -> Float[np.ndarray, " k"]:
        """False-positive rate at each corner."""
        return self.false_positives / self.non_members

    @property
    def auc(self) -> float:
        """Area under the curve: P(member's score > non-member's) + P(equal) / 2."""
        sums = self.true_positives[1:] + self.true_positives[:-1]
        twice = int(np.dot(np.diff(self.false_positives), sums))  # exact: trapezoids of integers
        return twice / (2 * self.members * self.non_members)

    def thinned(self, points: int = 500) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Return (fpr, tpr) of at most `points` exact corners, including both ends.

        Half of the corners are spread evenly along the curve, half over the logarithm of the FPR,
        so that a plot is accurate on linear and on logarithmic axes. A curve with at most `points`
        corners is returned whole.

        Raises:
            ConfigError: fewer than two points.
        """
        if points < 2:
            raise ConfigError(f"points is {points}; a curve has two ends, so at least 2.")
        fpr, tpr = self.fpr, self.tpr
        if len(fpr) > points:
            along = np.searchsorted(fpr + tpr, np.linspace(0, 2, max(points // 2, 2)))
            grid = np.geomspace(1 / self.non_members, 1, points - len(along) + 1)[:-1]
            low = np.searchsorted(fpr, grid, side="right") - 1
            keep = np.union1d(along, low)
            fpr, tpr = fpr[keep], tpr[keep]
        return fpr, tpr


def roc_curve(scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> Roc:
    """Return the ROC curve of `scores` (any numbers, infinite ones too) in O(n log n).

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
    """
    scores = check_scores(scores, truth)
    order = np.argsort(-scores)  # the order of equal scores does not matter
    return roc_of_sorted(scores[order], truth[order])


def roc_of_sorted(falling: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> Roc:
    """Return the ROC curve of sorted scores, the highest first, without NaN; O(n)."""
    last_of_score = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    true_positives = np.cumsum(truth)[last_of_score]
    false_positives = last_of_score + 1 - true_positives
    return Roc(
        falling[last_of_score],
        np.append(0, true_positives).astype(np.int64),
        np.append(0, false_positives).astype(np.int64),
    )
