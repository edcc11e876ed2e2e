"""Thresholds: fitted on records whose membership is known, applied to others.

Convention: the rule is "score >= threshold means member"; candidates are the observed scores
themselves, not midpoints; of thresholds with equal balanced accuracy the lowest is taken.
Observed scores, because a midpoint moves with the scale of the score: a fit then would not be
invariant to a strictly rising transform of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from selena.errors import DataError
from selena.metrics.inputs import check_labels, check_scores
from selena.metrics.roc import roc_curve
from selena.seeding import numpy_generator


@dataclass(frozen=True, eq=False)
class Threshold:
    """One threshold for all records, or one per class.

    Attributes:
        values: a single value, or one per class; an infinite one is possible where scores are.
    """

    values: Float[np.ndarray, " c"]

    @property
    def per_class(self) -> bool:
        """Whether there is one threshold per class."""
        return len(self.values) > 1

    def decide(
        self, scores: Num[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
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


def fit_threshold(scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> Threshold:
    """Return the threshold of the best balanced accuracy, in O(n log n).

    Raises:
        DataError: a score is NaN, or members or non-members are lacking.
    """
    return Threshold(np.array([_best(scores, truth)]))


def fit_class_thresholds(
    scores: Num[np.ndarray, " n"],
    truth: Bool[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    num_classes: int,
) -> Threshold:
    """Return one threshold per class, each of the best balanced accuracy, in O(n log n).

    A class that lacks members or non-members here gets the threshold fitted on all classes.

    Raises:
        DataError: a score is NaN, members or non-members are lacking altogether, or a label
            lies outside [0, num_classes).
    """
    check_labels(labels, num_classes)
    values = np.full(num_classes, _best(scores, truth))
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))[:-1]
    for label, rows in enumerate(np.split(order, ends)):
        if truth[rows].any() and not truth[rows].all():
            values[label] = _best(scores[rows], truth[rows])
    return Threshold(values)


def cross_fitted_accuracy(
    scores: Num[np.ndarray, " n"],
    truth: Bool[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    num_classes: int,
    *,
    per_class: bool,
    seed: int,
) -> float:
    """Return the balanced accuracy of thresholds on records that they were not fitted on.

    Two folds, stratified by membership and class: each half is decided by thresholds fitted on
    the other. With it the best attack of a family is chosen on known records alone.

    Raises:
        DataError: a score is NaN, a label is out of range, or there are fewer than two members
            or non-members.
    """
    scores = check_scores(scores, truth)
    check_labels(labels, num_classes)
    if min(truth.sum(), (~truth).sum()) < 2:
        raise DataError(
            f"{int(truth.sum())} known members and {int((~truth).sum())} known non-members are too "
            "few to fit thresholds on: give at least two of each, and more where an attack sets "
            "some aside to train on others (neural)."
        )
    shuffled = numpy_generator(seed, "cross-fit").permutation(len(scores))
    strata = shuffled[np.lexsort((labels[shuffled], truth[shuffled]))]
    second = np.empty(len(scores), dtype=bool)
    for members in (False, True):  # alternate in each set, so that both halves hold some of it
        rows = strata[truth[strata] == members]
        second[rows] = np.arange(len(rows)) % 2 == 1
    decisions = np.empty(len(scores), dtype=bool)
    for half in (second, ~second):
        if per_class:
            rule = fit_class_thresholds(scores[half], truth[half], labels[half], num_classes)
        else:
            rule = fit_threshold(scores[half], truth[half])
        decisions[~half] = rule.decide(scores[~half], labels[~half])
    return float((decisions[truth].mean() + (~decisions[~truth]).mean()) / 2)


def _best(scores: Num[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float:
    curve = roc_curve(scores, truth)
    # Integers: equal advantages compare equal, and the last of them is the lowest threshold.
    # The curve ends at advantage 0, so its start, where nobody is a member, is never needed.
    advantage = (
        curve.true_positives[1:] * curve.non_members - curve.false_positives[1:] * curve.members
    )
    return float(curve.thresholds[::-1][np.argmax(advantage[::-1])])
