"""The exact ROC curve of a score, and the checks of scores, truth and labels.

The rule is always "score >= threshold means member". Records of one score are decided together, so
a curve has one corner per distinct score, and ties are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Num

from selena.errors import ConfigError, DataError


def check_scores(
    scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return `scores` as float64, or raise if no metric can be computed from them.

    Args:
        scores: one score per record, higher = member; infinite scores are allowed and ordered.
        truth: True where the record is a member.

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
    """
    if scores.shape != truth.shape or scores.ndim != 1:
        raise DataError(
            f"Shapes disagree: scores {scores.shape}, truth {truth.shape}. "
            "Give one score and one truth value per record."
        )
    members = int(np.count_nonzero(truth))
    if members == 0 or members == len(truth):
        raise DataError(
            f"Scores of {members} members and {len(truth) - members} non-members cannot be "
            "compared. Give at least one record of each."
        )
    scores = np.asarray(scores, dtype=np.float64)
    missing = np.isnan(scores)
    if missing.any():
        raise DataError(
            f"{int(missing.sum())} scores are NaN, the first is score {int(missing.argmax())}. "
            "A score must be a number; fix the attack that gave it."
        )
    return scores


def check_labels(labels: Integer[np.ndarray, " n"], num_classes: int) -> None:
    """Raise `DataError` unless every label lies in [0, num_classes)."""
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"Label {int(labels[row])} of record {row} is out of range; with {num_classes} "
            f"classes labels run from 0 to {num_classes - 1}."
        )


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
