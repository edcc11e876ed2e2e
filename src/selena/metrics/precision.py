"""Precision and recall, also of a ranking against the records that another method finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Num

from selena.errors import ConfigError, DataError
from selena.metrics.intervals import Interval, clopper_pearson
from selena.metrics.low_fpr import TprAtFpr, tpr_at_fpr
from selena.metrics.roc import check_scores, roc_curve


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of the decisions of an attack.

    Attributes:
        precision: share of the accused records that are members; NaN if none is accused.
        precision_interval: its 95 % interval (Clopper-Pearson), [0, 1] if none is accused.
        recall: share of the members that are accused.
        recall_interval: its 95 % interval.
        accused: number of records that are called members.
    """

    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    accused: int


def precision_and_recall(
    decisions: Bool[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> PrecisionRecall:
    """Return precision and recall of decisions.

    Precision depends on the share of members; audits score as many members as non-members.

    Raises:
        DataError: lengths disagree, or there is no member.
    """
    if decisions.shape != truth.shape or not truth.any():
        raise DataError(
            f"{decisions.shape} decisions on {truth.shape} records with {int(truth.sum())} "
            "members. Give one decision per record, and at least one member."
        )
    hits, accused, members = int((decisions & truth).sum()), int(decisions.sum()), int(truth.sum())
    return PrecisionRecall(
        precision=hits / accused if accused else float("nan"),
        precision_interval=clopper_pearson(hits, accused) if accused else (0.0, 1.0),
        recall=hits / members,
        recall_interval=clopper_pearson(hits, members),
        accused=accused,
    )


def precision_at_k(
    scores: Num[np.ndarray, " n"], found: Bool[np.ndarray, " n"], k: int
) -> tuple[float, Interval]:
    """Return the share of `found` records among the k highest scores.

    Pollock et al. 2025: `found` marks the members that a reference-model attack finds at a low
    false-positive rate. A random ranking reaches `found.mean()`. Records that tie for the last
    places count with equal shares, which is the mean over random orders.

    Args:
        scores: scores of members, higher = more exposed.
        found: whether each member is found.
        k: number of highest scores, 1 to n.

    Returns:
        The precision, and its 95 % interval (Clopper-Pearson).

    Raises:
        DataError: lengths disagree, or a score is NaN.
        ConfigError: k out of range.
    """
    n = len(scores)
    if found.shape != (n,) or np.isnan(scores).any():
        raise DataError(
            f"{n} scores ({int(np.isnan(scores).sum())} NaN) and marks of shape {found.shape}: "
            "give one number and one mark per record."
        )
    if not 1 <= k <= n:
        raise ConfigError(f"k is {k}; there are {n} scores.")
    last = np.partition(scores, n - k)[n - k]
    above, tied = scores > last, scores == last
    hits = found[above].sum() + (k - above.sum()) * found[tied].mean()
    return float(hits / k), clopper_pearson(round(float(hits)), k)


def loss_true_negative_rate(
    member_losses: Num[np.ndarray, " m"],
    non_member_losses: Num[np.ndarray, " n"],
    *,
    fnr: float = 0.001,
) -> TprAtFpr:
    """Return the share of non-members whose loss is higher than almost every member's.

    Dodd et al., "The Tail Tells All: Estimating Model-Level Membership Inference Vulnerability
    Without Reference Models", 2025. The members that a reference-model attack finds would have high
    losses if they had not been trained on. So the rarer high losses are among members, compared
    with non-members, the more LiRA finds at a low false-positive rate. It costs one query per
    record and serves to compare models; it is not LiRA's TPR.

    Args:
        member_losses: losses of records of the training set.
        non_member_losses: losses of other records of the same population.
        fnr: share of the members whose loss may be higher than the threshold, in (0, 1].

    Returns:
        `tpr` is the true-negative rate, with its interval; in all other fields members and
        non-members are exchanged.

    Raises:
        DataError: a loss is NaN, or a side is empty.
        ConfigError: `fnr` out of range.
    """
    losses = np.concatenate([member_losses, non_member_losses])
    outside = np.arange(len(losses)) >= len(member_losses)
    return tpr_at_fpr(roc_curve(check_scores(losses, outside), outside), fnr)
