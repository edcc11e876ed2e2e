"""Searches of scikit-learn under a limit of leakage."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import selena
from selena.errors import ConfigError, DataError
from selena.sklearn import (
    AuditableClassifier,
    PrivacyLimit,
    SelenaClassifier,
    make_leakage_scorer,
)

pytestmark = pytest.mark.filterwarnings("ignore::selena.errors.AuditWarning")


def records(n: int = 240) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 0.5 * y[:, None], y


def scorer(metric: str = "auc", **settings: Any) -> Any:
    return make_leakage_scorer(metric, attacks=("confidence",), **settings)


def test_a_model_that_remembers_leaks_most() -> None:
    X, y = records()
    nearest, many = (
        cross_val_score(
            AuditableClassifier(KNeighborsClassifier(k)), X, y, scoring=scorer(), cv=2
        ).mean()
        for k in (1, 100)
    )
    assert nearest < -0.6  # an AUC above 0.6
    assert nearest < many


def test_members_are_the_records_of_the_fit() -> None:
    X, y = records(60)
    rows = np.r_[0:20, 0:5]  # some twice, others left out: not what is outside of a test fold
    model = AuditableClassifier(KNeighborsClassifier(1)).fit(X[rows], y[rows])
    np.testing.assert_array_equal(model.members_[0], X[rows])
    report = selena.audit(
        model.estimator_,
        (X[rows], y[rows]),
        (X[30:], y[30:]),
        attacks=["confidence"],
        deduplicate=True,
    )
    assert scorer()(model, X[30:], y[30:]) == -report.figure("auc").value


def test_the_upper_end_pays_for_all_audits() -> None:
    X, y = records()
    model = AuditableClassifier(KNeighborsClassifier(3)).fit(X[:120], y[:120])
    value, one, ten = (
        -scorer("advantage", **settings)(model, X[120:], y[120:])
        for settings in ({}, {"end": "upper"}, {"end": "upper", "audits": 10})
    )
    assert value < one < ten
    report = selena.audit(
        model.estimator_, (X[:120], y[:120]), (X[120:], y[120:]), attacks=["confidence"]
    )
    assert ten == report.figure("advantage", confidence=0.995).interval[1]


def test_grid_search_keeps_to_a_limit() -> None:
    X, y = records()
    base = make_pipeline(StandardScaler(), KNeighborsClassifier())
    search = GridSearchCV(
        AuditableClassifier(base),
        {"estimator__kneighborsclassifier__n_neighbors": [1, 60]},
        scoring={"accuracy": "accuracy", "leakage": scorer(end="upper", audits=4)},
        refit=PrivacyLimit(0.75),
        cv=2,
    ).fit(X, y)
    assert search.best_params_ == {"estimator__kneighborsclassifier__n_neighbors": 60}
    leakage = -search.cv_results_["mean_test_leakage"]
    assert leakage[0] > 0.75 >= leakage[search.best_index_]
    assert search.best_estimator_.estimator_.predict(X).shape == y.shape


def test_a_limit_that_none_keeps_says_the_least() -> None:
    found = {"mean_test_leakage": [-0.8, -0.6], "mean_test_accuracy": [0.9, 0.7]}
    assert PrivacyLimit(0.9)(found) == 0
    assert PrivacyLimit(0.7)(found) == 1
    with pytest.raises(ConfigError, match=r"leaks more than 0\.5; the least leaks 0\.6"):
        PrivacyLimit(0.5)(found)
    with pytest.raises(ConfigError, match="no scorer 'f1'"):
        PrivacyLimit(0.5, quality="f1")(found)


def test_protected_frames_by_subject_are_scored() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = records(160)
    frame = pandas.DataFrame(X, columns=list("abc")).assign(person=np.arange(160) // 2)
    model = SelenaClassifier(
        LogisticRegression(), n_submodels=3, n_nonmodels=1, subject_column="person", random_state=0
    )
    found = cross_val_score(
        AuditableClassifier(model),
        frame,
        y,
        scoring=scorer(),
        cv=GroupKFold(2),
        groups=frame["person"],
        error_score="raise",
    )
    assert ((found >= -1) & (found < 0)).all()


def test_pickles_hold_no_records() -> None:
    X, y = records(60)
    model = AuditableClassifier(LogisticRegression()).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert not hasattr(again, "members_")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert hasattr(model, "members_")
    with pytest.raises(ConfigError, match="AuditableClassifier"):
        scorer()(again, X, y)


def test_a_bare_model_is_not_guessed_about() -> None:
    X, y = records(60)
    with pytest.raises(ConfigError, match="which records the model was fitted on"):
        scorer()(LogisticRegression().fit(X, y), X, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "f1"}, "'f1' is no metric"),
        ({"end": "lower"}, "end is 'lower'"),
        ({"audits": 0}, "audits is 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_settings_of_a_scorer(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_leakage_scorer(**{"metric": "auc", **settings})


def test_records_of_training_are_no_test_records() -> None:
    X, y = records(60)
    model = AuditableClassifier(LogisticRegression()).fit(X, y)
    with pytest.raises(DataError, match="All records are on both sides"):
        scorer()(model, X, y)
