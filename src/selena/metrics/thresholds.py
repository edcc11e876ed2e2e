"""Thresholds: fitted on records whose membership is known, applied to others.

Convention: the rule is "score >= threshold means member". A threshold is one of the observed
scores, and the lowest of thresholds with equal balanced accuracy is taken. Midpoints between scores
are not used, because they depend on the scale: a strictly increasing transform would change the
decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Num, Shaped

from selena.errors import DataError
from selena.metrics.roc import check_labels, check_scores, roc_of_sorted
from selena.seeding import numpy_generator


@dataclass(frozen=True, eq=False)
class Threshold:
    """One threshold for all records, or one per class.

    Attributes:
        values: a single value, or one per class; infinite only if scores are.
    """

    values: Float[np.ndarray, " c"]

    @property
    def per_class(self) -> bool:
        """Whether there is one threshold per class."""
        return len(self.values) > 1

    def decide(
        self, scores: Num[np.ndarray, " n"], labels: Integer[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Return True for each record that is called a member.

        Raises:
            DataError: a label that has no threshold.
        """
        limits = self.values
        if self.per_class:
            check_labels(labels, len(self.values))
            limits = self.values[labels]
        decisions: Bool[np.ndarray, " n"] = scores >= limits
        return decisions


class KnownScores:
    """Scores of records with known membership and class, sorted once for many fits.

    Args:
        scores: one per record, higher = member; infinite ones are allowed.
        truth: True where the record is a member.
        labels: true classes, in [0, num_classes).
        num_classes: number of classes.

    Raises:
        DataError: a score is NaN, members or non-members are lacking, or a label lies outside
            [0, num_classes).
    """

    def __init__(
        self,
        scores: Num[np.ndarray, " n"],
        truth: Bool[np.ndarray, " n"],
        labels: Int[np.ndarray, " n"],
        num_classes: int,
    ) -> None:
        scores = check_scores(scores, truth)
        check_labels(labels, num_classes)
        order = np.argsort(-scores)
        self._labels = labels  # in the given order, which draws depend on
        self._truth = truth
        self._num_classes = num_classes
        self._order = order
        self._sorted = _Sorted(scores[order], truth[order], _small(labels, num_classes)[order])

    def threshold(self, *, per_class: bool) -> Threshold:
        """Return the threshold with the best balanced accuracy, or one per class.

        A class without members or non-members here gets the threshold fitted on all classes.
        """
        return self._fit(self._sorted, per_class)

    def cross_fitted_accuracy(self, *, per_class: bool, seed: int) -> float:
        """Return the balanced accuracy of thresholds on records that they were not fitted on.

        There are two folds, stratified by membership and class: thresholds fitted on one half
        decide the other. So the best attack of a family can be chosen on known records only.

        Raises:
            DataError: fewer than two members or non-members.
        """
        ranked, half = self._sorted, self._second_half(seed)[self._order]
        right = {True: 0, False: 0}
        for fold in (half, ~half):
            rule = self._fit(ranked.take(fold), per_class)
            rest = ranked.take(~fold)
            decided = rule.decide(rest.scores, rest.labels)
            right[True] += int(decided[rest.truth].sum())
            right[False] += int((~decided[~rest.truth]).sum())
        members = int(ranked.truth.sum())
        return (right[True] / members + right[False] / (len(ranked.truth) - members)) / 2

    def _fit(self, ranked: _Sorted, per_class: bool) -> Threshold:
        everybody = _best(ranked.scores, ranked.truth)
        if not per_class:
            return Threshold(np.array([everybody]))
        values = np.full(self._num_classes, everybody)
        by_class = ranked.take(np.argsort(ranked.labels, kind="stable"))  # descending per class
        ends = np.cumsum(np.bincount(ranked.labels, minlength=self._num_classes))
        start = 0
        for label, end in enumerate(ends.tolist()):
            truth = by_class.truth[start:end]
            if truth.any() and not truth.all():
                values[label] = _best(by_class.scores[start:end], truth)
            start = end
        return Threshold(values)

    def _second_half(self, seed: int) -> Bool[np.ndarray, " n"]:
        """Return which records form the second half: every other one per side and class."""
        truth, members = self._truth, int(self._truth.sum())
        others = len(truth) - members
        if min(members, others) < 2:
            raise DataError(
                f"{members} known members and {others} known non-members are too few to fit "
                "thresholds on. Give at least two of each, and more for attacks that train on some "
                "of them (neural)."
            )
        shuffled = numpy_generator(seed, "cross-fit").permutation(len(truth))
        sets = _small(self._labels + truth * self._num_classes, 2 * self._num_classes)[shuffled]
        strata = shuffled[np.argsort(sets, kind="stable")]
        second = np.empty(len(truth), dtype=bool)
        for rows in (strata[:others], strata[others:]):  # non-members first
            second[rows] = np.arange(len(rows)) % 2 == 1
        return second


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Scores, highest first, and the facts about their records."""

    scores: Float[np.ndarray, " n"]
    truth: Bool[np.ndarray, " n"]
    labels: Integer[np.ndarray, " n"]

    def take(self, rows: Shaped[np.ndarray, " m"]) -> _Sorted:
        return _Sorted(self.scores[rows], self.truth[rows], self.labels[rows])


def fit_threshold(scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> Threshold:
    """Return the threshold with the best balanced accuracy, in O(n log n).

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
    """
    return fit_class_thresholds(scores, truth, np.zeros(len(truth), dtype=np.int64), 1)


def fit_class_thresholds(
    scores: Num[np.ndarray, " n"],
    truth: Bool[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    num_classes: int,
) -> Threshold:
    """Return one threshold per class with the best balanced accuracy, in O(n log n).

    A class without members or non-members here gets the threshold fitted on all classes.

    Raises:
        DataError: a score is NaN, members or non-members are lacking altogether, or a label
            lies outside [0, num_classes).
    """
    return KnownScores(scores, truth, labels, num_classes).threshold(per_class=num_classes > 1)


def _best(falling: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    curve = roc_of_sorted(falling, truth)
    # Integers: equal advantages compare equal, and the last of them is the lowest threshold.
    # Both ends of the curve have advantage 0, so its start (no accusations) is not needed.
    advantage = (
        curve.true_positives[1:] * curve.non_members - curve.false_positives[1:] * curve.members
    )
    return float(curve.thresholds[::-1][np.argmax(advantage[::-1])])


def _small(numbers: Int[np.ndarray, " n"], count: int) -> Integer[np.ndarray, " n"]:
    """Return numbers in [0, count) in 16 bits if possible, since NumPy sorts these in O(n)."""
    return numbers.astype(np.uint16 if count <= 1 << 16 else np.int64)
