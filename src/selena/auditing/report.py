"""The audit report: every attack's figures, and the best attack of each family.

The best attack is chosen by its cross-fitted accuracy on known records, never on evaluation
records: choosing there would report the luckiest attack instead of the strongest one. The accuracy
counts less its standard error, since a trained attack is judged by the few records it held out, and
the highest of several noisy figures is the noisiest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from selena.auditing.scoring import AttackScores
from selena.auditing.terminal import as_text, audit_notes, audit_table
from selena.errors import unknown_name
from selena.metrics.intervals import Interval
from selena.metrics.one_run import EpsilonBound
from selena.metrics.roc import roc_curve
from selena.metrics.summary import Summary
from selena.types import Access, Family

SCHEMA = "selena-audit/1"

_BINS = 60


@dataclass(frozen=True)
class Accuracy:
    """A share of correct answers.

    Attributes:
        value: in [0, 1].
        interval: 95 % Clopper-Pearson interval.
        n: number of records.
    """

    value: float
    interval: Interval
    n: int


@dataclass(frozen=True)
class Variant:
    """One way of reading an attack's scores: one threshold, or one a class.

    Attributes:
        summary: figures on evaluation records.
        known_accuracy: cross-fitted balanced accuracy on known records.
        known_records: how many records that is an average over.
    """

    summary: Summary
    known_accuracy: float
    known_records: int

    @property
    def sure_accuracy(self) -> float:
        """The accuracy on known records less its standard error: attacks are chosen by it."""
        spread = self.known_accuracy * (1 - self.known_accuracy) / self.known_records
        return self.known_accuracy - sqrt(spread)


@dataclass(frozen=True)
class OnCanaries:
    """What one attack achieved on planted records, which no threshold was fitted on.

    Attributes:
        summary: figures, with one threshold for all classes.
        bound: the lower bound on epsilon that its scores prove.
        copies: how many near copies were trained on besides.
        copies_grouped: whether the defense was told which canary each is a copy of.
    """

    summary: Summary
    bound: EpsilonBound
    copies: int
    copies_grouped: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **self.summary.to_json(),
            "copies": self.copies,
            "copies_grouped": self.copies_grouped,
            "epsilon_lower_bound": self.bound.to_json(),
        }


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What one attack achieved.

    Attributes:
        name: of the attack.
        family: "direct", "label-only", "adaptive" or "reference-model".
        access: what it asked of the oracle.
        settings: its hyperparameters.
        variants: "global" and "per_class".
        scores: the scores behind the figures, with queries and seconds.
        canaries: what it achieved on planted records, where there are some.
    """

    name: str
    family: Family
    access: Access
    settings: dict[str, Any]
    variants: dict[str, Variant]
    scores: AttackScores = field(repr=False)
    canaries: OnCanaries | None = None

    @property
    def queries_per_record(self) -> float:
        """Queries spent a record, known ones included: an attacker's cost."""
        return self.scores.queries / self.scores.all_records

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


@dataclass(frozen=True)
class Best:
    """One attack in one variant."""

    result: AttackResult
    variant: str

    @property
    def name(self) -> str:
        """Attack and variant, as "modified_entropy/per_class"."""
        return f"{self.result.name}/{self.variant}"

    @property
    def figures(self) -> Variant:
        """Its figures."""
        return self.result.variants[self.variant]

    def roc(self) -> dict[str, list[float]]:
        """Return exact corners of the ROC curve, thinned for plotting."""
        scored = self.result.scores.evaluation
        fpr, tpr = roc_curve(scored.scores, scored.truth).thinned()
        return {"fpr": fpr.tolist(), "tpr": tpr.tolist()}

    def histogram(self) -> dict[str, Any]:
        """Return how the scores of members and of non-members are distributed (shares a bin)."""
        scored = self.result.scores.evaluation
        return score_histogram(scored.scores, scored.truth)


def score_histogram(
    scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> dict[str, Any]:
    """Return bin edges, the shares of members and of non-members a bin, and what the axis is.

    The outermost hundredth of the scores lies in the end bins: a few extreme ones would otherwise
    squeeze all others into one. Where most scores crowd together all the same, as those of sure
    predictions do, the axis is the logarithm of the distance from the highest score; not where a
    crowd is one value over and over, which no axis takes apart.
    """
    finite = scores[np.isfinite(scores)]
    low, high = np.quantile(finite, (0.005, 0.995)) if len(finite) else (0.0, 0.0)
    shown, axis = np.clip(scores, low, high), "score"
    edges = np.histogram_bin_edges(shown, _BINS)
    fullest = int(np.histogram(shown, edges)[0].argmax())
    crowd = shown[(shown >= edges[fullest]) & (shown <= edges[fullest + 1])]
    if len(crowd) > len(shown) / 2 and np.ptp(crowd) > 0:
        distance = high - shown
        # The highest score itself has no logarithm: it stands beside the nearest one.
        shown = -np.log10(np.maximum(distance, distance[distance > 0].min() / 2))
        axis = "-log10(highest - score)"
        edges = np.histogram_bin_edges(shown, _BINS)
    shares = {
        name: (np.histogram(shown[chosen], edges)[0] / chosen.sum()).tolist()
        for name, chosen in (("members", truth), ("non_members", ~truth))
    }
    return {"edges": edges.tolist(), "axis": axis, **shares}


@dataclass(frozen=True)
class ModelQueries:
    """What a function was asked in an audit.

    Attributes:
        asked: records that it was sent, those of calls that failed included.
        from_cache: records whose answer was kept already.
        retried: calls that were repeated.
    """

    asked: int
    from_cache: int
    retried: int

    def __str__(self) -> str:
        return (
            f"The model was asked about {self.asked:,} records ({self.retried:,} calls were "
            f"repeated); {self.from_cache:,} answers were kept already."
        )


@dataclass(frozen=True, eq=False, repr=False)
class AuditReport:
    """Utility and leakage of one target model; `print` shows every attack.

    Attributes:
        train_accuracy: on the target's training set, canaries left out.
        test_accuracy: on evaluation non-members.
        attacks: results by attack name.
        model_queries: what a function was asked; no part of the JSON, as times are none.
    """

    train_accuracy: Accuracy
    test_accuracy: Accuracy
    attacks: dict[str, AttackResult]
    model_queries: ModelQueries | None = None

    def __repr__(self) -> str:
        audit = self.to_json()
        asked = [] if self.model_queries is None else [str(self.model_queries)]
        return as_text(audit_table(audit), [*audit_notes(audit), *asked])

    @property
    def families(self) -> list[Family]:
        """The families attacked with, in the order they were run."""
        return list(dict.fromkeys(result.family for result in self.attacks.values()))

    def best(self, family: Family) -> Best:
        """Return the attack of `family` that did best on known records.

        Raises:
            ConfigError: no attack of that family was run.
        """
        return max(self._all(family), key=lambda best: best.figures.sure_accuracy)

    def strongest_on_evaluation(self, family: Family) -> Best:
        """Return the attack that did best on evaluation records: the paper's choice, biased up."""
        return max(self._all(family), key=lambda best: best.figures.summary.balanced_accuracy)

    def to_json(self) -> dict[str, Any]:
        """Return the whole report; the same seed gives the same bytes."""
        return {
            "schema": SCHEMA,
            **self._accuracies(),
            "n": self.counts(),
            "attacks": {name: result.to_json() for name, result in self.attacks.items()},
            "best": {family: self._best_json(family) for family in self.families},
        }

    def counts(self) -> dict[str, int]:
        """Return how many records thresholds were fitted on and how many were scored.

        A group counts as one; "evaluation_records", where there are groups, are all its records.
        """
        if not self.attacks:
            return {}
        scores = next(iter(self.attacks.values())).scores
        evaluation = scores.evaluation.truth
        known = max((r.scores.calibration.truth for r in self.attacks.values()), key=len)
        counts = {
            "known_members": int(known.sum()),
            "known_non_members": int((~known).sum()),
            "evaluation_members": int(evaluation.sum()),
            "evaluation_non_members": int((~evaluation).sum()),
        }
        records = scores.evaluation_records or 0
        if records > len(evaluation):
            counts["evaluation_records"] = records
        return counts

    def timings(self) -> dict[str, float]:
        """Return seconds spent by each attack."""
        return {name: result.scores.seconds for name, result in self.attacks.items()}

    def _accuracies(self) -> dict[str, Any]:
        return {
            key: value
            for name, accuracy in (("train", self.train_accuracy), ("test", self.test_accuracy))
            for key, value in (
                (f"{name}_accuracy", accuracy.value),
                (f"{name}_accuracy_interval", list(accuracy.interval)),
                (f"{name}_n", accuracy.n),
            )
        }

    def _all(self, family: Family) -> Iterator[Best]:
        if family not in self.families:
            raise unknown_name("family in this report", family, self.families)
        for result in self.attacks.values():
            if result.family == family:
                for variant in result.variants:
                    yield Best(result, variant)

    def _best_json(self, family: Family) -> dict[str, Any]:
        best, strongest = self.best(family), self.strongest_on_evaluation(family)
        return {
            "attack": best.name,
            "access": best.result.access,
            "queries_per_record": best.result.queries_per_record,
            **best.figures.summary.to_json(),
            "known_accuracy": best.figures.known_accuracy,
            "known_records": best.figures.known_records,
            "roc": best.roc(),
            "histogram": best.histogram(),
            "strongest_on_evaluation": {
                "attack": strongest.name,
                "balanced_accuracy": strongest.figures.summary.balanced_accuracy,
            },
        }
