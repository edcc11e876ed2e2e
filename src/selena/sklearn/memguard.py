"""MemGuard's noise on the predictions of any scikit-learn classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    check_scalar,
    column_or_1d,
    validate_data,
)
from torch import Tensor

from selena.content.non_models import draw_non_models
from selena.defenses.memguard import MemGuard, MemGuardModel
from selena.defenses.ranking import keep_argmax
from selena.errors import ConfigError
from selena.seeding import child_seed
from selena.sklearn.base import Probabilities, ProbabilityClassifier
from selena.sklearn.checks import Labels, check_estimator, check_training
from selena.sklearn.fitting import aligned_proba, fit_hard
from selena.sklearn.records import check_queries, take
from selena.sklearn.split import base_or_default, data_checks, tags_of
from selena.types import Records
from selena.workspace import Workspace

_KEY_BYTES = 16


class MemGuardClassifier(ProbabilityClassifier):
    """Adds noise to a classifier's probabilities that hides who was in the training data.

    The defender trains a network that guesses membership from the sorted probabilities of members
    and of reference records, and changes each answer just enough for that network to be undecided
    (Jia et al., "MemGuard: Defending against Black-Box Membership Inference Attacks via
    Adversarial Examples", CCS 2019). The most probable class never changes, so accuracy stays the
    same, and attacks that use only labels are as strong as before. The same query always gets the
    same answer. There is no formal guarantee: audit the result.

    Args:
        estimator: `FrozenEstimator(classifier)` to protect a classifier that is already fitted;
            or an unfitted one, of which a copy is fitted; None for
            `HistGradientBoostingClassifier()`. It needs `predict_proba`.
        budget: the largest expected L1 distance between noisy and true probabilities, in (0, 2];
            the noise is then used at random, with one draw for queries with equal answers. None
            for no bound.
        epochs: passes of the defender's network over members and reference records, at least 1.
        random_state: int, `RandomState` or None, for the fitted copy, the defender's network and
            the secret key that a budget needs.

    Attributes:
        classes_: the c labels, sorted.
        estimator_: the fitted classifier behind the noise.
        n_features_in_: number of features.
        feature_names_in_: their names, if the records were a data frame.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.frozen import FrozenEstimator
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> tree = DecisionTreeClassifier(random_state=0).fit(X[::2], y[::2])
        >>> model = MemGuardClassifier(FrozenEstimator(tree), random_state=0)
        >>> model.fit(X[::2], y[::2], X_reference=X[1::2]).predict(X[:1])
        array([0])
    """

    estimator_: Any
    _filter: MemGuardModel

    def __init__(
        self,
        estimator: Any = None,
        *,
        budget: float | None = None,
        epochs: int = 10,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.budget = budget
        self.epochs = epochs
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_reference: Any = None
    ) -> MemGuardClassifier:
        """Fit the classifier unless it is frozen, then the defender's network.

        Args:
            X: n x d features; for a frozen classifier, the records it was trained on.
            y: n labels of at least two classes.
            sample_weight: n weights, at least 0, or None, for the classifier's `fit`; ignored by
                a frozen one.
            X_reference: m x d features of records that the classifier is not trained on; the
                defender's network trains on them and on as many members. None holds out half of
                `X` from the classifier. The content of a record decides its half, so equal
                records are in one half.

        Raises:
            ConfigError: an estimator without `predict_proba`, or fitted and not frozen; a frozen
                one without `X_reference`, or without a label of `y`; fewer than two classes; a
                setting out of range.
            ValueError: malformed input, as in scikit-learn.
        """
        check_scalar(self.epochs, "epochs", Integral, min_val=1)
        base = check_estimator(base_or_default(self.estimator), "estimator")
        key = check_random_state(self.random_state).bytes(_KEY_BYTES)
        seed = int.from_bytes(key, "big")
        if isinstance(base, FrozenEstimator):
            reference = self._take_frozen(base, X, y, X_reference)
        else:
            X, reference = self._fit_copy(base, X, y, sample_weight, X_reference, key)
        answers = _Answers(len(self.classes_))
        memguard = MemGuard(answers, budget=self.budget)
        self._filter = replace(
            memguard, inference=replace(memguard.inference, epochs=int(self.epochs))
        ).fit(
            answers.records(self._answer(X)),
            answers.records(self._answer(reference)),
            seed=child_seed(seed, "memguard"),
            workspace=Workspace(),
        )
        return self

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """Return the classifier's label for each query; noise never changes it.

        Args:
            X: n x d features.
        """
        check_is_fitted(self, "estimator_")
        labels: Shaped[np.ndarray, " n"] = self.estimator_.predict(self._checked(X))
        return labels

    def predict_proba(self, X: Any) -> Probabilities:
        """Return the noisy probabilities; rows sum to 1.

        Args:
            X: n x d features.
        """
        bare = self._bare(X)
        noisy = self._filter.logits(torch.from_numpy(bare)).double().softmax(dim=1)
        # The filter answers in float32, where values that differ in float64 may tie.
        kept: Probabilities = keep_argmax(noisy, torch.from_numpy(bare.argmax(axis=1))).numpy()
        return kept

    def _take_frozen(self, base: Any, X: Any, y: Any, reference: Any) -> Any:
        if not hasattr(base, "classes_"):
            raise ConfigError(f"{base!r} is not fitted. Fit it, or pass it without freezing.")
        if reference is None:
            raise ConfigError(
                "A frozen estimator has seen all of X. Pass records that it has not seen as "
                "X_reference, or pass an unfitted estimator, which is fitted on half of X."
            )
        validate_data(self, X, skip_check_array=True)
        check_consistent_length(X, y)
        unknown = np.setdiff1d(column_or_1d(y, warn=True), base.classes_)
        if len(unknown):
            raise ConfigError(
                f"y holds {unknown.tolist()[0]!r}, which is none of the frozen estimator's classes "
                f"{base.classes_!r}. X and y must be the records it was trained on."
            )
        self.estimator_, self.classes_ = base, np.asarray(base.classes_)
        return self._checked(reference)

    def _fit_copy(
        self, base: Any, X: Any, y: Any, sample_weight: Any, reference: Any, key: bytes
    ) -> tuple[Any, Any]:
        """Fit a copy of `base`; return its members and the reference records."""
        if _is_fitted(base):
            raise ConfigError(
                f"{base!r} is fitted. To protect it as it is, pass "
                "FrozenEstimator(...) of sklearn.frozen around it; to fit a copy, clone(...) of it."
            )
        X, y, weight, _ = check_training(self, X, y, sample_weight, **data_checks(self))
        rows = np.arange(len(y))
        if reference is not None:
            reference = self._checked(reference)
        else:
            seen = _half(X, y, key)
            rows, reference = np.flatnonzero(seen), take(X, ~seen)
        self.estimator_ = fit_hard(
            base,
            take(X, rows),
            y[rows],
            None if weight is None else weight[rows],
            seed=child_seed(int.from_bytes(key, "big"), "estimator"),
            classes=self.classes_,
        )
        return take(X, rows), reference

    def _bare(self, X: Any) -> Probabilities:
        """Return the probabilities without noise."""
        check_is_fitted(self, "estimator_")
        return self._answer(self._checked(X))

    def _checked(self, X: Any) -> Any:
        """Return records as the classifier behind the noise takes them."""
        if isinstance(self.estimator, FrozenEstimator):
            validate_data(self, X, reset=False, skip_check_array=True)
            return X  # unchanged, since the kind that it was fitted on is unknown
        return check_queries(self, X, **data_checks(self))

    def _answer(self, X: Any) -> Probabilities:
        return aligned_proba(self.estimator_, X, self.classes_)

    def __sklearn_tags__(self) -> Tags:
        return tags_of(super().__sklearn_tags__(), base_or_default(self.estimator))


@dataclass(frozen=True)
class _Answers:
    """The classifier for `MemGuard`: a record is replaced by the classifier's answer to it.

    The noise depends only on the answer, so the defense need not handle each classifier's kind of
    records.
    """

    num_classes: int

    def records(self, proba: Probabilities) -> Records:
        rows = torch.arange(len(proba))
        return Records(torch.from_numpy(proba), torch.zeros_like(rows), rows)

    def logits(self, x: Shaped[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        return x.log().float()

    def fit(
        self,
        train: Records,
        validation: Records,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> _Answers:
        return self

    def restore(self, state: dict[str, Tensor]) -> _Answers:
        return self

    def state(self) -> dict[str, Tensor]:
        return {}


def _half(X: Any, y: Labels, key: bytes) -> Shaped[np.ndarray, " n"]:
    """Return which records the classifier is fitted on; no side is empty."""
    seen = draw_non_models(X, n_submodels=2, n_nonmodels=1, key=key)[:, 0]
    if seen.all() or not seen.any():  # possible with very few records
        seen = np.arange(len(y)) % 2 == 0
    return seen


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True
