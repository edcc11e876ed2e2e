"""The student that learns soft labels where none is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from selena.sklearn import SelenaClassifier, TorchClassifier
from selena.sklearn.student import usual_student

RNG = np.random.default_rng(0)
Y = np.arange(60) % 2
X = RNG.normal(size=(60, 3)) + Y[:, None]


@pytest.mark.parametrize(
    "base", [LogisticRegression(), KNeighborsClassifier(), DecisionTreeClassifier()]
)
def test_other_models_are_their_own_students(base: Any) -> None:
    assert usual_student(base, X) is base
    pipeline = make_pipeline(StandardScaler(), base)
    assert usual_student(pipeline, X) is pipeline


@pytest.mark.parametrize("base", [RandomForestClassifier(5), HistGradientBoostingClassifier()])
def test_a_network_takes_the_place_of_trees_that_vote(base: Any) -> None:
    scaler = StandardScaler()
    for given, before in ((base, []), (make_pipeline(scaler, base), [scaler])):
        steps = [step for _, step in usual_student(given, X).steps]
        assert steps[:-2] == before
        assert isinstance(steps[-1], TorchClassifier)


def test_trees_that_read_words_stay_students() -> None:
    pd = pytest.importorskip("pandas")
    words = pd.DataFrame({"a": pd.Categorical(["x", "y"] * 30), "b": X[:, 0]})
    base = HistGradientBoostingClassifier(categorical_features="from_dtype")
    assert usual_student(base, words) is base
    assert usual_student(base, words[["b"]]) is not base
    encoded = make_pipeline(OneHotEncoder(), base)
    assert usual_student(encoded, words) is not encoded


def test_the_usual_student_takes_missing_values() -> None:
    gaps = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
    boosting = HistGradientBoostingClassifier(max_iter=5)
    model = SelenaClassifier(boosting, n_submodels=3, n_nonmodels=1, random_state=0).fit(gaps, Y)
    assert isinstance(model.student_.steps[-1][1], TorchClassifier)
    assert np.isfinite(model.predict_proba(gaps)).all()
