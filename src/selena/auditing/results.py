"""Computes the figures of every attack of an audit from its scores.

Figures are always computed from scores, also when a report is read from a file: figures in a file
are not trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from selena.auditing.oracle import DELTA
from selena.auditing.scoring import AttackScores, Scored
from selena.files.escaping import shorten
from selena.metrics.intervals import ONE_SIGMA
from selena.metrics.low_fpr import tpr_band
from selena.metrics.one_run import (
    EpsilonBound,
    epsilon_lower_bound,
    gaussian_epsilon_lower_bound,
)
from selena.metrics.roc import Roc, roc_curve
from selena.metrics.summary import Summary, summarize
from selena.metrics.thresholds import KnownScores, Threshold
from selena.types import Access, Family, MembershipSets

_BINS = 60


@dataclass(frozen=True)
class AuditSetup:
    """What figures depend on besides the scores.

    Attributes:
        num_classes: number of classes of the target model.
        seed: seed of the audit; it draws the folds of cross-fitting.
        delta: the delta for which canaries bound epsilon.
        copies: number of near copies of canaries in the training set.
        copies_grouped: whether the defense was told the canary of each copy.
    """

    num_classes: int
    seed: int
    delta: float = DELTA
    copies: int = 0
    copies_grouped: bool = False


@dataclass(frozen=True)
class Variant:
    """The figures of an attack with one kind of threshold: one for all classes, or one per class.

    Attributes:
        summary: figures on evaluation records.
        known_accuracy: cross-fitted balanced accuracy on known records.
        known_records: number of these records.
    """

    summary: Summary
    known_accuracy: float
    known_records: int


@dataclass(frozen=True)
class OnCanaries:
    """The figures of one attack on canaries; no threshold was fitted on them.

    Attributes:
        summary: figures, with one threshold for all classes.
        bound: the lower bound on epsilon that its scores prove.
        gaussian_bound: the lower bound on the epsilon of a Gaussian trade-off curve.
        copies: number of near copies of canaries in the training set.
        copies_grouped: whether the defense was told the canary of each copy.
    """

    summary: Summary
    bound: EpsilonBound
    gaussian_bound: EpsilonBound
    copies: int
    copies_grouped: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **self.summary.to_json(),
            "copies": self.copies,
            "copies_grouped": self.copies_grouped,
            "epsilon_lower_bound": self.bound.to_json(),
            "gaussian_epsilon_lower_bound": self.gaussian_bound.to_json(),
        }


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The result of one attack.

    Attributes:
        name: name of the attack.
        family: "direct", "label-only", "adaptive" or "reference-model".
        access: what it asked for: "label", "logits" or "gradient".
        settings: its hyperparameters.
        variants: "global" and "per_class".
        scores: the scores behind the figures, with queries and seconds.
        canaries: its figures on canaries, if there are any.
    """

    name: str
    family: Family
    access: Access
    settings: dict[str, Any]
    variants: dict[str, Variant]
    scores: AttackScores
    canaries: OnCanaries | None = None

    def __repr__(self) -> str:
        tried = "" if self.canaries is None else ", with canaries"
        name = shorten(self.name, 60)
        return f"AttackResult({name!r}, {self.family}, AUC {self.curve.auc:.3f}{tried})"

    @property
    def queries_per_record(self) -> float:
        """Queries per record, over known and scored records: the attacker's cost."""
        return self.scores.queries / self.scores.all_records

    # Curves are not kept, because they take three times the memory of the scores.
    @property
    def curve(self) -> Roc:
        """The ROC curve on evaluation records, computed anew."""
        return roc_curve(self.scores.evaluation.scores, self.scores.evaluation.truth)

    @property
    def known_curve(self) -> Roc:
        """The ROC curve on known records, computed anew."""
        return roc_curve(self.scores.calibration.scores, self.scores.calibration.truth)

    @cached_property
    def known(self) -> Summary:
        """Figures of its ranking on known records, with one-sigma intervals."""
        known = self.scores.calibration
        nobody = np.zeros_like(known.truth)
        return summarize(known.scores, nobody, known.truth, confidence=ONE_SIGMA)

    def roc(self) -> dict[str, Any]:
        """Return exact corners of the ROC curve, thinned for plotting, and a pointwise band."""
        curve = self.curve
        fpr, tpr = curve.thinned()
        return {
            "attack": self.name,
            "auc": curve.auc,
            "members": curve.members,
            "non_members": curve.non_members,
            "fpr": fpr.tolist(),
            "tpr": tpr.tolist(),
            "band": tpr_band(curve),
        }

    def histogram(self) -> dict[str, Any]:
        """Return the distributions of the scores of members and non-members (shares per bin)."""
        scored = self.scores.evaluation
        return {"attack": self.name, **score_histogram(scored.scores, scored.truth)}

    def to_json(self) -> dict[str, Any]:
        """Return figures and cost; no times, so that equal seeds give equal bytes."""
        variants = {
            name: {**v.summary.to_json(), "known_accuracy": v.known_accuracy}
            for name, v in self.variants.items()
        }
        return {
            "family": self.family,
            "access": self.access,
            "settings": self.settings,
            "queries_per_record": self.queries_per_record,
            **variants,
            **({} if self.canaries is None else {"canaries": self.canaries.to_json()}),
        }


def score_histogram(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> dict[str, Any]:
    """Return bin edges, the shares of members and of non-members per bin, and the axis' title.

    The outermost hundredth of the scores is in the end bins; otherwise a few extreme scores would
    squeeze all others into one bin. If most scores are still in few bins, as with confident
    predictions, the axis is the logarithm of the distance from the highest score. Repetitions of
    one value do not count for this, since no axis separates them.
    """
    finite = scores[np.isfinite(scores)]
    low, high = np.quantile(finite, (0.005, 0.995)) if len(finite) else (0.0, 0.0)
    shown, axis = np.clip(scores, low, high), "score"
    edges = np.histogram_bin_edges(shown, _BINS)
    fullest = int(np.histogram(shown, edges)[0].argmax())
    crowd = shown[(shown >= edges[fullest]) & (shown <= edges[fullest + 1])]
    if len(crowd) > len(shown) / 2 and np.ptp(crowd) > 0:
        distance = high - shown
        # The highest score has distance 0 and no logarithm; it is put beside the next one.
        shown = -np.log10(np.maximum(distance, distance[distance > 0].min() / 2))
        axis = "-log10(highest - score)"
        edges = np.histogram_bin_edges(shown, _BINS)
    shares = {
        name: (np.histogram(shown[chosen], edges)[0] / chosen.sum()).tolist()
        for name, chosen in (("members", truth), ("non_members", ~truth))
    }
    return {"edges": edges.tolist(), "axis": axis, **shares}


def audit_setup(
    num_classes: int, seed: int, canaries: MembershipSets | None, delta: float
) -> AuditSetup:
    """Return the setup of an audit with or without `canaries`; the target states `delta`."""
    twins = None if canaries is None else canaries.extra_members
    if twins is None:
        return AuditSetup(num_classes, seed, delta)
    grouped = twins.subjects is not None and bool((twins.subjects >= 0).all())
    return AuditSetup(num_classes, seed, delta, len(twins), grouped)


def attack_result(
    name: str,
    family: Family,
    access: Access,
    settings: dict[str, Any],
    scores: AttackScores,
    setup: AuditSetup,
) -> AttackResult:
    """Return the figures of one attack.

    Thresholds, one for all classes and one per class, are fitted on the calibration records.
    """
    fitted, scored = _fitted(scores.calibration, setup), scores.evaluation
    threshold, _ = fitted["global"]
    summary = summarize(scored.scores, threshold.decide(scored.scores, scored.labels), scored.truth)
    return AttackResult(
        name=name,
        family=family,
        access=access,
        settings=settings,
        variants={
            variant: Variant(
                summary.with_decisions(rule.decide(scored.scores, scored.labels), scored.truth),
                known_accuracy,
                known_records=len(scores.calibration.truth),
            )
            for variant, (rule, known_accuracy) in fitted.items()
        },
        scores=scores,
        canaries=_on_canaries(scores.canaries, threshold, setup),
    )


def _fitted(known: Scored, setup: AuditSetup) -> dict[str, tuple[Threshold, float]]:
    """Return threshold and cross-fitted accuracy, for all classes together and per class."""
    scores = KnownScores(known.scores, known.truth, known.labels, setup.num_classes)
    return {
        variant: (
            scores.threshold(per_class=per_class),
            scores.cross_fitted_accuracy(per_class=per_class, seed=setup.seed),
        )
        for variant, per_class in (("global", False), ("per_class", True))
    }


def _on_canaries(
    scored: Scored | None, threshold: Threshold, setup: AuditSetup
) -> OnCanaries | None:
    if scored is None:
        return None
    decisions = threshold.decide(scored.scores, scored.labels)
    return OnCanaries(
        summarize(scored.scores, decisions, scored.truth),
        epsilon_lower_bound(scored.scores, scored.truth, delta=setup.delta),
        gaussian_epsilon_lower_bound(scored.scores, scored.truth, delta=setup.delta),
        copies=setup.copies,
        copies_grouped=setup.copies_grouped,
    )
