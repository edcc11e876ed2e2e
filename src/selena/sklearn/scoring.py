"""Leakage as a score for scikit-learn's searches: a fold's training records are the members.

A scorer of scikit-learn gets the fitted estimator and the fold's test records. It cannot know the
training records: records outside the test fold may be left out, resampled or of another split. So
`AuditableClassifier` keeps the records of its last fit during the search, and never writes them to
a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.base import clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted

from selena.auditing.figure import chance
from selena.errors import ConfigError
from selena.models import audit
from selena.sklearn.base import Probabilities, ProbabilityClassifier
from selena.sklearn.checks import check_estimator

_CONFIDENCE = 0.95


class AuditableClassifier(ProbabilityClassifier):
    """A classifier that keeps the records it was fitted on, so that a scorer can audit it.

    Use it only for searches, and publish `search.best_estimator_.estimator_`. A pickle or a copy
    contains no records.

    Args:
        estimator: any classifier with `predict_proba`, or a pipeline that ends in one.

    Attributes:
        estimator_: the fitted copy.
        classes_: its labels, sorted.
        members_: the records and labels that it was fitted on; absent after pickling.
    """

    estimator_: Any
    members_: tuple[Any, Any]

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, **fit_params: Any) -> AuditableClassifier:
        """Fit a copy of the estimator.

        Args:
            X: n records of a kind that the estimator takes.
            y: n labels.
            fit_params: other arguments of the estimator's `fit`.

        Raises:
            ConfigError: an estimator without `predict_proba`.
        """
        check_estimator(self.estimator, "estimator")
        self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        self.classes_ = np.asarray(self.estimator_.classes_)
        self.members_ = (X, y)
        return self

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the estimator's probabilities.

        Args:
            X: m records of the kind that it was fitted on.
        """
        check_is_fitted(self, "estimator_")
        return np.asarray(self.estimator_.predict_proba(X), dtype=np.float64)

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """Return the estimator's labels.

        Args:
            X: m records of the kind that it was fitted on.
        """
        check_is_fitted(self, "estimator_")
        return np.asarray(self.estimator_.predict(X))

    def __getstate__(self) -> Any:
        """Return the contents of a pickle: everything except the records."""
        state = dict(super().__getstate__())
        state.pop("members_", None)
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


@dataclass(frozen=True)
class LeakageScorer:
    """The scorer that `make_leakage_scorer` returns."""

    metric: str
    end: Literal["value", "upper"]
    audits: int
    attacks: tuple[str, ...]
    seed: int

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return minus the leakage of a fitted `AuditableClassifier`, so that higher is better.

        Args:
            estimator: fitted on the members.
            X: records that it was not fitted on.
            y: their labels.

        Raises:
            ConfigError: an estimator without its training records.
        """
        members = getattr(estimator, "members_", None)
        if members is None:
            raise ConfigError(
                "A scorer of leakage must know which records the model was fitted on. Search over "
                "selena.AuditableClassifier(model), whose parameters are called estimator__*."
            )
        column = getattr(estimator.estimator, "subject_column", None)
        sides = [
            (records, labels) if column is None else (records, labels, np.asarray(records[column]))
            for records, labels in (members, (X, y))
        ]
        report = audit(
            estimator.estimator_, *sides, attacks=self.attacks, deduplicate=True, seed=self.seed
        )
        confidence = 1 - (1 - _CONFIDENCE) / self.audits
        figure = report.figure(self.metric, confidence=confidence)
        return -float(figure.value if self.end == "value" else figure.interval[1])


def make_leakage_scorer(
    metric: str = "tpr@fpr=0.01",
    *,
    end: Literal["value", "upper"] = "value",
    audits: int = 1,
    attacks: tuple[str, ...] = ("direct",),
    seed: int = 0,
) -> LeakageScorer:
    """Return a scorer for `cross_val_score`, `GridSearchCV` and their like: minus the leakage.

    It audits an `AuditableClassifier`: the fold's training records are members, its test records
    non-members. The attacker knows half of each side; the other half is scored. Records on both
    sides are left out.

    A search chooses the lowest of many noisy figures, so the figure of its choice is too low. The
    upper end is valid if `audits` counts all audits of the search: then, by Bonferroni, all upper
    ends together are above their true values with 97.5 % confidence, for any choice. The mean of
    the folds' upper ends is above the mean of their true values, too.

    Args:
        metric: "advantage", "balanced_accuracy", "auc" or "tpr@fpr=X".
        end: "value" for the figure itself, "upper" for the upper end of its interval.
        audits: number of audits that share the interval's error: candidates x folds.
        attacks: names or families of attacks.
        seed: root of the attacks' draws.

    Raises:
        ConfigError: an unknown metric or end, or `audits` below 1.

    Example:
        >>> scorer = make_leakage_scorer("auc")
        >>> scorer.metric
        'auc'
    """
    chance(metric)  # raises for an unknown metric
    if end not in ("value", "upper"):
        raise ConfigError(f"end is {end!r}; give 'value' or 'upper'.")
    if audits < 1:
        raise ConfigError(f"audits is {audits}; give candidates x folds, at least 1.")
    return LeakageScorer(metric, end, audits, tuple(attacks), seed)


@dataclass(frozen=True)
class PrivacyLimit:
    """The `refit` of a search: the best candidate among those that leak no more than a limit.

    Attributes:
        limit: the largest leakage, in units of the scorer's metric.
        leakage: name of the scorer of leakage in `scoring`; use one with `end="upper"` to be safe.
        quality: name of the scorer to maximise.
    """

    limit: float
    leakage: str = "leakage"
    quality: str = "accuracy"

    def __call__(self, cv_results: Mapping[str, Any]) -> int:
        """Return the index of the candidate, given `cv_results_`.

        Raises:
            ConfigError: a scorer is missing, or every candidate leaks more.
        """
        names = [f"mean_test_{name}" for name in (self.leakage, self.quality)]
        for name in names:
            if name not in cv_results:
                raise ConfigError(
                    f"The search has no scorer {name.removeprefix('mean_test_')!r}. Name it in "
                    "scoring={...}."
                )
        leakage = -np.asarray(cv_results[names[0]], dtype=np.float64)
        quality = np.asarray(cv_results[names[1]], dtype=np.float64)
        return _best_within(leakage, quality, self.limit)


def _best_within(
    leakage: Float[np.ndarray, " m"], quality: Float[np.ndarray, " m"], limit: float
) -> int:
    within = leakage <= limit
    if not within.any():
        least = np.nanmin(leakage) if np.isfinite(leakage).any() else float("nan")
        raise ConfigError(
            f"Every candidate leaks more than {limit:g}; the least leaks {least:.4g}. Search among "
            "others (SelenaClassifier, stronger regularisation), give more records, or raise the "
            "limit."
        )
    return int(np.where(within, quality, -np.inf).argmax())
