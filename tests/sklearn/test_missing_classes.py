"""Copies whose records lack a class, and bases that answer in a way of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from selena.errors import DataError
from selena.sklearn import (
    EstimatorTraining,
    MemGuardClassifier,
    SelenaClassifier,
    SplitAIClassifier,
    TorchClassifier,
)
from selena.sklearn.fitting import aligned_proba, fit_hard
from tests.toys import toy_records


class Gapless(DecisionTreeClassifier):  # type: ignore[misc]
    """Wants labels from 0 without a gap, as XGBoost does."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        found = np.unique(y)
        if not np.array_equal(found, np.arange(len(found))):
            raise ValueError(f"expected {np.arange(len(found))}, got {found}")
        return super().fit(X, y, sample_weight)


class PerClass(RandomForestClassifier):  # type: ignore[misc]
    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X) ** 0.5


class Wide(LogisticRegression):  # type: ignore[misc]
    """Answers with a column for each of four classes, seen or not, as a network does."""

    def predict_proba(self, X: Any) -> Any:
        known = super().predict_proba(X)
        return np.pad(0.9 * known, [(0, 0), (0, 4 - known.shape[1])], constant_values=0.05)


def records(rare: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return records of three classes, one of which has two."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 4))
    y = np.where(x[:, 0] > 0, (rare + 1) % 3, (rare + 2) % 3)
    y[:2] = rare
    return x, y


@pytest.mark.parametrize("rare", [0, 1, 2])
@pytest.mark.parametrize("kind", [SplitAIClassifier, SelenaClassifier])
def test_copies_meet_labels_without_a_gap(kind: type, rare: int) -> None:
    x, y = records(rare)
    model = kind(Gapless(max_depth=4), n_submodels=5, n_nonmodels=2, random_state=0).fit(x, y)
    assert model.predict_proba(x).shape == (120, 3)
    assert model.score(x, y) > 0.9


def test_a_numbered_copy_answers_by_its_labels() -> None:
    x, y = records()
    kept = y != 0
    copy = fit_hard(Gapless(), x[kept], y[kept], None, seed=0, classes=np.arange(3))
    np.testing.assert_array_equal(copy.predict(x[kept]), y[kept])
    proba = aligned_proba(copy, x, np.arange(3))
    assert (proba[:, 0] == 0).all()
    np.testing.assert_array_equal(proba[kept].argmax(axis=1), y[kept])


def test_weights_of_classes_follow_their_numbers() -> None:
    x, y = records()
    kept = y != 0
    weighted = make_pipeline(StandardScaler(), LogisticRegression(class_weight={0: 1, 1: 5, 2: 1}))
    copy = fit_hard(weighted, x[kept], y[kept], None, seed=0, classes=np.arange(3))
    whole = LogisticRegression(class_weight={1: 5, 2: 1})
    whole.fit(StandardScaler().fit_transform(x[kept]), y[kept])
    np.testing.assert_allclose(copy.fitted[-1].coef_, whole.coef_)


def test_reference_runs_meet_labels_without_a_gap() -> None:
    few = toy_records(60)
    few = few.take(few.y != 0)
    proba = EstimatorTraining(Gapless()).fit(few, few, seed=0).logits(few.x).exp()
    assert float(proba[:, 0].max()) == 0
    assert torch.equal(proba.argmax(dim=1), few.y)


def test_columns_of_no_class_are_dropped() -> None:
    x, y = records()
    for kept in (y != 0, y != 2):
        copy = fit_hard(Wide(), x[kept], y[kept], None, seed=0, classes=np.arange(3))
        proba = aligned_proba(copy, x, np.arange(3))
        assert (proba[:, np.setdiff1d(y, y[kept])] == 0).all()
        np.testing.assert_allclose(proba.sum(axis=1), 1)
    wide = Wide().fit(x[y != 2], y[y != 2])
    np.testing.assert_allclose(aligned_proba(wide, x, np.arange(2)).sum(axis=1), 1)


@pytest.mark.parametrize("kind", [SplitAIClassifier, SelenaClassifier])
def test_rows_of_one_model_per_class_sum_to_1(kind: type) -> None:
    x, y = records()
    model = kind(PerClass(5), n_submodels=5, n_nonmodels=2, random_state=0).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)


class Noting(TorchClassifier):
    """Keeps the soft labels that it learns."""

    def fit_soft(self, X: Any, soft: Any, **rest: Any) -> Any:
        self.soft_ = soft
        return super().fit_soft(X, soft, **rest)


def test_a_network_learns_from_one_model_per_class() -> None:
    x, y = records()
    model = SelenaClassifier(
        PerClass(5), n_submodels=5, n_nonmodels=2, student=Noting(epochs=1), random_state=0
    ).fit(x, y)
    np.testing.assert_allclose(model.student_.soft_.sum(axis=1), 1, rtol=1e-6)


def test_answers_that_are_no_probabilities_are_named() -> None:
    class Negative(DecisionTreeClassifier):  # type: ignore[misc]
        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X) - 1

    x, y = records()
    with pytest.raises(DataError, match=r"predict_proba of Negative gives .* from -1 to 0"):
        SplitAIClassifier(Negative(), n_submodels=5, n_nonmodels=2, random_state=0).fit(
            x, y
        ).predict_proba(x)


def test_a_stacking_classifier_is_a_base() -> None:
    x, y = records()
    y[:2] = 1
    stack = StackingClassifier([("a", DecisionTreeClassifier()), ("b", LogisticRegression())], cv=2)
    model = SelenaClassifier(
        make_pipeline(StandardScaler(), stack), n_submodels=3, n_nonmodels=1, random_state=0
    )
    assert model.fit(x, y).score(x, y) > 0.8


def test_what_never_has_probabilities_is_still_refused() -> None:
    x, y = records()
    with pytest.raises(ValueError, match="predict_proba"):
        SelenaClassifier(make_pipeline(StandardScaler(), SVC()), n_submodels=3, n_nonmodels=1).fit(
            x, y
        )


def test_noise_keeps_the_labels_that_a_model_predicts() -> None:
    x, y = records()
    y = (y == 1).astype(int)
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit(x, y)
    guarded = MemGuardClassifier(FrozenEstimator(model), epochs=1, random_state=0)
    guarded.fit(x, y, X_reference=x + 9)
    np.testing.assert_array_equal(guarded.predict(x), model.predict(x))
    assert (guarded.predict(x) != guarded.predict_proba(x).argmax(axis=1)).any()
