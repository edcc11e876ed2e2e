"""The figures of one attack: of its decisions and of its ranking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Num

from selena.errors import DataError
from selena.metrics.intervals import Interval, advantage_interval, delong, interval_of_auc
from selena.metrics.low_fpr import TprAtFpr, tpr_at_fpr
from selena.metrics.roc import roc_curve

LOW_FPRS = (0.1, 0.01, 0.001)
"""False-positive rates at which a TPR is reported."""

CONFIDENCE = 0.95
"""Confidence of a summary's intervals."""


@dataclass(frozen=True)
class Summary:
    """Figures of one attack on evaluation records.

    Attributes:
        members: number of members scored.
        non_members: number of non-members scored.
        tpr: share of the members that the decisions call members.
        fpr: share of the non-members that the decisions call members.
        advantage_interval: Newcombe's interval of TPR - FPR.
        auc: area under the ROC curve of the scores.
        auc_interval: its interval, DeLong's on the logit scale.
        tpr_at_fpr: for each requested FPR, the best TPR within it.
    """

    members: int
    non_members: int
    tpr: float
    fpr: float
    advantage_interval: Interval
    auc: float
    auc_interval: Interval
    tpr_at_fpr: dict[float, TprAtFpr]

    @property
    def advantage(self) -> float:
        """TPR - FPR, in [-1, 1]; 0 is a random guess."""
        return self.tpr - self.fpr

    def advantage_at(self, confidence: float) -> Interval:
        """Return Newcombe's interval of the advantage with another confidence."""
        return advantage_interval(
            round(self.tpr * self.members),
            self.members,
            round(self.fpr * self.non_members),
            self.non_members,
            confidence=confidence,
        )

    def with_decisions(
        self, decisions: Bool[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
    ) -> Summary:
        """Return the figures of other decisions on the same scores, with 95 % intervals."""
        hits, alarms = int(decisions[truth].sum()), int(decisions[~truth].sum())
        return replace(
            self,
            tpr=hits / self.members,
            fpr=alarms / self.non_members,
            advantage_interval=advantage_interval(hits, self.members, alarms, self.non_members),
        )

    @property
    def balanced_accuracy(self) -> float:
        """(TPR + TNR) / 2, in [0, 1]; 0.5 is a random guess."""
        return (self.tpr + 1 - self.fpr) / 2

    @property
    def balanced_accuracy_interval(self) -> Interval:
        """The interval of the advantage on the scale of the balanced accuracy."""
        low, high = self.advantage_interval
        return (1 + low) / 2, (1 + high) / 2

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, lists and dicts; a FPR becomes a decimal text, such as "0.001"."""
        return {
            "members": self.members,
            "non_members": self.non_members,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_interval": list(self.balanced_accuracy_interval),
            "advantage": self.advantage,
            "advantage_interval": list(self.advantage_interval),
            "tpr": self.tpr,
            "fpr": self.fpr,
            "auc": self.auc,
            "auc_interval": list(self.auc_interval),
            "tpr_at_fpr": {str(fpr): point.to_json() for fpr, point in self.tpr_at_fpr.items()},
        }


def summarize(
    scores: Num[np.ndarray, " n"],
    decisions: Bool[np.ndarray, " n"],
    truth: Bool[np.ndarray, " n"],
    *,
    fprs: tuple[float, ...] = LOW_FPRS,
    confidence: float = CONFIDENCE,
    comparisons: int = 1,
) -> Summary:
    """Return the figures of an attack on records that nothing was fitted on.

    Args:
        scores: scores that rank the records, higher = member. Thresholds per class change only
            decisions: shifting scores by thresholds from few records would blur the ranking.
        decisions: True for each record that the fitted rule calls a member.
        truth: True for each member.
        fprs: the false-positive rates at which a TPR is wanted, each in (0, 1].
        confidence: confidence of the intervals.
        comparisons: number of attacks whose intervals are correct together (Bonferroni).

    Raises:
        DataError: a score is NaN, members or non-members are lacking, or lengths disagree.
        ConfigError: `confidence`, `comparisons` or a FPR out of range.
    """
    curve = roc_curve(scores, truth)
    if decisions.shape != truth.shape:
        raise DataError(
            f"Shapes disagree: decisions {decisions.shape}, truth {truth.shape}. "
            "Give one decision per record."
        )
    hits, alarms = int(decisions[truth].sum()), int(decisions[~truth].sum())
    return Summary(
        members=curve.members,
        non_members=curve.non_members,
        tpr=hits / curve.members,
        fpr=alarms / curve.non_members,
        advantage_interval=advantage_interval(
            hits,
            curve.members,
            alarms,
            curve.non_members,
            confidence=confidence,
            comparisons=comparisons,
        ),
        auc=curve.auc,
        auc_interval=interval_of_auc(
            *delong(curve), confidence=confidence, comparisons=comparisons
        ),
        tpr_at_fpr={
            fpr: tpr_at_fpr(curve, fpr, confidence=confidence, comparisons=comparisons)
            for fpr in fprs
        },
    )
