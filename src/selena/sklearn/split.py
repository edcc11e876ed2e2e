"""Split-AI around any scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from selena.content.near_duplicates import NearDuplicates, check_near_duplicates
from selena.content.non_models import draw_non_models, share_draws
from selena.seeding import child_seed
from selena.sklearn.base import Probabilities, ProbabilityClassifier
from selena.sklearn.checks import (
    Labels,
    Weights,
    check_counts,
    check_estimator,
    check_training,
)
from selena.sklearn.fitting import aligned_proba, fit_hard
from selena.sklearn.outside import warn_of_outside
from selena.sklearn.records import check_queries, take

_KEY_BYTES = 16


class SplitAIClassifier(ProbabilityClassifier):
    """An ensemble in which each training record is answered by models that never saw it.

    K copies of an estimator are fitted such that each record is unknown to L of them, its
    non-models. A query is answered by the mean prediction of L copies. For a training record, which
    is recognized by its content, these are its own non-models. For any other input a keyed hash
    draws them, so that a repeated query always gets the same copies (Tang et al., "Mitigating
    Membership Inference Attacks by Self-Distillation Through a Novel Ensemble Architecture", USENIX
    Security 2022, Section 4.1).

    Exact queries of members are protected; queries near a member are not, so use
    `SelenaClassifier` against these. Several rows of one subject are not protected either: one set
    of L copies answers all rows of a training subject, but each row of another person gets a
    different set. Near copies among the training records share their L copies. In queries only
    exact records are recognized; to recognize near ones, the ensemble would have to store records.

    Args:
        estimator: any classifier with `predict_proba`; None for
            `HistGradientBoostingClassifier()`. Preprocessing that learns from records (scaling,
            selection) belongs inside, as in `make_pipeline(StandardScaler(), classifier)`. Outside
            it would see every record.
        n_submodels: K, at least 2; the paper's is 25.
        n_nonmodels: L, 1 <= L < K; the paper's is 10.
        near_duplicates: which training records share their non-models because they are near copies:
            "auto" finds them by gaps among distances, "exact" takes only equal ones, and a number
            is the largest distance in standard deviations (in bits if all columns are binary).
        n_jobs: number of copies to fit at once, as in joblib; it does not change the result. A
            `joblib.parallel_config` is respected.
        random_state: int, `RandomState` or None. It also determines the key of the hash, so anyone
            who knows the number can compute which copies answer a query.
        subject_column: column of a frame with the subject id of each row, instead of `subjects` of
            `fit`. It is not a feature, and queries need not have it.

    Attributes:
        classes_: the c labels, sorted.
        estimators_: the K fitted copies. A copy whose records lack a class is a
            `selena.sklearn.fitting.Numbered`; a copy with records of one class always predicts
            it; a copy without records (with very few in all) predicts all classes equally.
        n_nonmodels_: L.
        key_: the key of the hash, 16 bytes.
        shared_draws_: by content, the records that share the draw of another record of their
            subject or of a near copy; empty without either.
        n_features_in_: number of features.
        feature_names_in_: their names, if the records were a data frame.
    """

    estimators_: list[Any]
    n_nonmodels_: int
    key_: bytes
    shared_draws_: dict[bytes, bytes]

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_submodels: int = 25,
        n_nonmodels: int = 10,
        near_duplicates: NearDuplicates = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        subject_column: str | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_submodels = n_submodels
        self.n_nonmodels = n_nonmodels
        self.near_duplicates = near_duplicates
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.subject_column = subject_column

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, subjects: Any = None
    ) -> SplitAIClassifier:
        """Draw the non-model sets and fit the K copies.

        Args:
            X: n records of a kind that the estimator takes: an array or sparse matrix of numbers,
                a pandas or polars frame, a list of texts. The copies get this kind.
            y: n labels of at least two classes.
            sample_weight: n weights, at least 0, or None. For an estimator that takes no weights,
                records are repeated in proportion to them.
            subjects: subject id of each record, integers or strings, or None if no person has
                several records. Records of one subject share their non-models; otherwise a copy
                could learn a record that it must not see from a similar one of the same subject.

        Raises:
            ConfigError: not 1 <= L < K, an estimator without `predict_proba`, an unknown
                `near_duplicates`, or fewer than two classes.
            ValueError: malformed input, as in scikit-learn.

        Warns:
            AuditWarning: `X` seems to come from a scaler or TF-IDF that was fitted before.
        """
        k, l = check_counts(self.n_submodels, self.n_nonmodels)  # noqa: E741 - the paper's letter
        check_near_duplicates(self.near_duplicates)
        base = check_estimator(base_or_default(self.estimator), "estimator")
        X, y, weight, subjects = check_training(
            self, X, y, sample_weight, subjects, **data_checks(self)
        )
        warn_of_outside(X)
        self.n_nonmodels_ = l
        self.key_ = check_random_state(self.random_state).bytes(_KEY_BYTES)
        self.shared_draws_ = share_draws(
            X, subjects, n_submodels=k, key=self.key_, near_duplicates=self.near_duplicates
        )
        excluded = self._draw(X, k)
        root = int.from_bytes(self.key_, "big")
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_on_rows)(
                base,
                X,
                y,
                weight,
                np.flatnonzero(~mine),
                self.classes_,
                child_seed(root, "submodel", i),
            )
            for i, mine in enumerate(excluded.T)
        )
        return self

    def non_models(self, X: Any) -> Bool[np.ndarray, "n k"]:
        """Return which L of the K copies answer each query: its non-models for a training record.

        Args:
            X: n x d features.
        """
        return self._draw(self._checked(X), len(self.estimators_))

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the mean prediction of each query's L copies; rows sum to 1.

        Args:
            X: n x d features.
        """
        X = self._checked(X)
        answering = self._draw(X, len(self.estimators_))
        total = np.zeros((len(answering), len(self.classes_)))
        for fitted, mine in zip(self.estimators_, answering.T, strict=True):
            rows = np.flatnonzero(mine)
            if len(rows):
                total[rows] += aligned_proba(fitted, take(X, rows), self.classes_)
        proba: Probabilities = total / answering.sum(axis=1, keepdims=True)
        return proba

    def _draw(self, X: Any, n_submodels: int) -> Bool[np.ndarray, "n k"]:
        return draw_non_models(
            X,
            n_submodels=n_submodels,
            n_nonmodels=self.n_nonmodels_,
            key=self.key_,
            shared=self.shared_draws_,
        )

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_queries(self, X, **data_checks(self))

    def __sklearn_tags__(self) -> Tags:
        return tags_of(super().__sklearn_tags__(), base_or_default(self.estimator))


def base_or_default(estimator: Any) -> Any:
    """Return the estimator to protect."""
    return HistGradientBoostingClassifier() if estimator is None else estimator


def tags_of(tags: Tags, *estimators: Any) -> Tags:
    """Return `tags` with the kinds of input that all of `estimators` take."""
    inner = [_tags(estimator) for estimator in estimators if hasattr(estimator, "fit")]
    for name in ("sparse", "allow_nan"):
        setattr(tags.input_tags, name, all(getattr(t.input_tags, name) for t in inner))
    tags.input_tags.positive_only = any(t.input_tags.positive_only for t in inner)
    known = [t.classifier_tags for t in inner if t.classifier_tags is not None]
    tags.classifier_tags.multi_class = all(t.multi_class for t in known)
    return tags


def _tags(estimator: Any) -> Tags:
    tags = get_tags(estimator)
    if isinstance(estimator, Pipeline):
        # A pipeline's own tags do not say; its first step does, or a later step raises an error.
        tags.input_tags.allow_nan = get_tags(estimator.steps[0][1]).input_tags.allow_nan
    return tags


def data_checks(model: Any) -> dict[str, Any]:
    """Return the arguments of scikit-learn's checks of records, by the tags of `model`."""
    tags = get_tags(model).input_tags
    return {
        "accept_sparse": "csr" if tags.sparse else False,
        "ensure_all_finite": not tags.allow_nan,
    }


def _fit_on_rows(
    base: Any,
    X: Any,
    y: Labels,
    weight: Weights | None,
    rows: Int64[np.ndarray, " m"],
    classes: Shaped[np.ndarray, " c"],
    seed: int,
) -> Any:
    """Fit one copy on its own rows; it gets no others."""
    if len(rows) == 0:
        return DummyClassifier(strategy="uniform").fit(np.zeros((len(classes), 1)), classes)
    mine = None if weight is None else weight[rows]
    return fit_hard(base, take(X, rows), y[rows], mine, seed=seed, classes=classes)
