"""MemGuard around a classifier: labels stay, probabilities tell less."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from selena.errors import ConfigError
from selena.sklearn import MemGuardClassifier

FOREST = RandomForestClassifier(20, random_state=0)


N = 250  # of members, of references and of others


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[: 3 * N]
    return X[order], np.array(list("zyxwvutsrq"))[y[order]]


@dataclass(frozen=True)
class Forest:
    """A fitted forest, the same behind noise, and what both say; members come first."""

    bare: Any
    protected: MemGuardClassifier
    bare_proba: Any
    proba: Any


@pytest.fixture(scope="module")
def forest(digits: tuple[Any, Any]) -> Forest:
    X, y = digits
    bare = clone(FOREST).fit(X[:N], y[:N])
    model = MemGuardClassifier(FrozenEstimator(bare), random_state=0)
    model.fit(X[:N], y[:N], X_reference=X[N : 2 * N])
    return Forest(bare, model, bare.predict_proba(X), model.predict_proba(X))


def test_labels_never_change(digits: tuple[Any, Any], forest: Forest) -> None:
    X, _ = digits
    labels = forest.bare_proba.argmax(axis=1)
    np.testing.assert_array_equal(forest.proba.argmax(axis=1), labels)
    model = forest.protected
    np.testing.assert_array_equal(model.predict(X), model.classes_[labels])
    np.testing.assert_allclose(forest.proba.sum(axis=1), 1)
    assert np.abs(forest.proba - forest.bare_proba).sum(axis=1).max() > 0.1


def test_the_same_query_gets_the_same_answer(digits: tuple[Any, Any], forest: Forest) -> None:
    X, _ = digits
    some = slice(2, 5)
    model = pickle.loads(pickle.dumps(forest.protected))
    together = model.predict_proba(X[some][::-1])[::-1]
    alone = np.vstack([model.predict_proba(x[None]) for x in X[some]])
    np.testing.assert_allclose(together, forest.proba[some], atol=1e-6)
    np.testing.assert_allclose(alone, forest.proba[some], atol=1e-6)


def test_members_look_less_sure(forest: Forest) -> None:
    gaps = []
    for proba in (forest.bare_proba, forest.proba):
        confidence = proba.max(axis=1)
        gaps.append(confidence[:N].mean() - confidence[2 * N :].mean())
    assert gaps[0] > 0.15
    assert gaps[1] < 0.7 * gaps[0]


@pytest.mark.deep
def test_a_budget_bounds_the_noise(digits: tuple[Any, Any], forest: Forest) -> None:
    X, y = digits
    model = MemGuardClassifier(FrozenEstimator(forest.bare), budget=0.1, random_state=0)
    model.fit(X[:N], y[:N], X_reference=X[N : 2 * N])
    bounded = np.abs(model.predict_proba(X) - forest.bare_proba).sum(axis=1)
    free = np.abs(forest.proba - forest.bare_proba).sum(axis=1)
    assert 0 < bounded.mean() < 0.5 * free.mean()
    used = bounded > 1e-3  # all or nothing: a query's noise is used whole, or not at all
    np.testing.assert_allclose(bounded[used], free[used], atol=1e-4)


@pytest.mark.usefixtures("short_walks")
def test_copy_is_fitted_on_half_of_distinct_records(digits: tuple[Any, Any]) -> None:
    X, y = digits
    twice = np.r_[0:400, 0:400]
    seen: list[Any] = []

    class Sees(DecisionTreeClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            seen.append(X)
            return super().fit(X, y, sample_weight)

    model = MemGuardClassifier(Sees(), epochs=1, random_state=0).fit(X[twice], y[twice])
    rows, counts = np.unique(seen[0], axis=0, return_counts=True)
    assert (counts == 2).all()
    assert 150 < len(rows) < 250
    clone(model).fit(X[:400], y[:400], X_reference=X[400:800])
    assert len(seen[1]) == 400


@pytest.mark.usefixtures("short_walks")
def test_the_reference_side_is_never_empty() -> None:
    for seed in range(4):
        model = MemGuardClassifier(LogisticRegression(), epochs=1, random_state=seed)
        assert model.fit([[0.0], [1.0]], [0, 1]).predict_proba([[0.0]]).sum() == pytest.approx(1)


@pytest.mark.usefixtures("short_walks")
def test_frozen_classifier_survives_cloning() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    X = pd.DataFrame({"animal": np.array(["cat", "dog"])[y ^ (rng.random(200) < 0.1)]})
    encode = make_column_transformer((OrdinalEncoder(), ["animal"]))
    bare = make_pipeline(encode, LogisticRegression()).fit(X[:100], y[:100])
    model = clone(MemGuardClassifier(FrozenEstimator(bare), random_state=0))
    model.fit(X[:100], y[:100], X_reference=X[100:])
    np.testing.assert_array_equal(model.predict(X), bare.predict(X))
    assert list(model.feature_names_in_) == ["animal"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict_proba(X.rename(columns={"animal": "pet"}))


@pytest.mark.usefixtures("short_walks")
def test_cross_validation_fits_copies(digits: tuple[Any, Any]) -> None:
    X, y = digits
    model = MemGuardClassifier(LogisticRegression(C=1e-3, max_iter=500), epochs=1, random_state=0)
    assert cross_val_score(model, X[:400], y[:400], cv=2).mean() > 0.8


def frozen_tree(digits: tuple[Any, Any]) -> FrozenEstimator:
    X, y = digits
    return FrozenEstimator(DecisionTreeClassifier().fit(X[:100], y[:100]))


def test_misuse_is_named(digits: tuple[Any, Any]) -> None:
    X, y = digits
    tree = frozen_tree(digits)
    with pytest.raises(ValueError, match="X_reference"):
        MemGuardClassifier(tree).fit(X[:100], y[:100])
    with pytest.raises(ValueError, match="FrozenEstimator"):
        MemGuardClassifier(tree.estimator).fit(X, y)
    with pytest.raises(ValueError, match="not fitted"):
        MemGuardClassifier(FrozenEstimator(FOREST)).fit(X, y, X_reference=X)
    with pytest.raises(ValueError, match="holds 'm', which is none"):
        MemGuardClassifier(tree).fit(X[:2], ["m", "z"], X_reference=X)
    with pytest.raises(ValueError, match="budget is -1") as caught:
        MemGuardClassifier(tree, budget=-1.0).fit(X, y, X_reference=X)
    assert isinstance(caught.value, ConfigError)
    with pytest.raises(ValueError, match="epochs"):
        MemGuardClassifier(tree, epochs=0).fit(X, y, X_reference=X)
    with pytest.raises(ValueError, match="features"):
        MemGuardClassifier(tree, epochs=1).fit(X, y, X_reference=X[:, :3])
