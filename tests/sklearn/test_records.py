"""Pipelines are protected on what they take: frames, texts, sparse matrices, strings as labels."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from selena.content.non_models import draw_non_models
from selena.errors import ConfigError, DataError
from selena.sklearn import (
    MemGuardClassifier,
    SelenaClassifier,
    SplitAIClassifier,
    TorchClassifier,
)

pytestmark = pytest.mark.usefixtures("short_walks")

ENCODED = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["job"]),
    (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "pay"]),
)
BASE = make_pipeline(ENCODED, LogisticRegression())
NETWORK = TorchClassifier((8,), epochs=3, batch_size=32, learning_rate=0.1)
COUNTS: dict[str, Any] = {"n_submodels": 4, "n_nonmodels": 2, "random_state": 0}
MODELS = [
    SelenaClassifier(BASE, **COUNTS),
    SelenaClassifier(BASE, student=make_pipeline(clone(ENCODED), NETWORK), **COUNTS),
    SplitAIClassifier(BASE, **COUNTS),
    MemGuardClassifier(BASE, epochs=2, random_state=0),
]
IDS = ["selena", "network", "split_ai", "memguard"]


def columns(n: int = 80) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    job = np.array(["clerk", "nurse", "cook"])[rng.integers(0, 3, n)]
    age = np.where(rng.random(n) < 0.2, np.nan, rng.normal(40, 9, n))
    return {"job": job.tolist(), "age": age, "pay": rng.integers(1, 9, n)}


def labels(table: dict[str, Any]) -> np.ndarray:
    return np.where(np.array(table["job"]) == "cook", "yes", "no")


@pytest.fixture(params=["pandas", "polars"])
def frames(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed")


@pytest.mark.parametrize(
    ("library", "model"),
    [*(("pandas", model) for model in MODELS), ("polars", MODELS[0])],
    ids=[*IDS, "polars"],
)
def test_frames_with_strings_and_gaps(library: str, model: Any) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    table = columns()
    X, y = frames.DataFrame(table), labels(table)
    fitted = clone(model).fit(X, y)
    assert fitted.score(X, y) > 0.9
    assert list(fitted.feature_names_in_) == ["job", "age", "pay"]
    if model is MODELS[0]:
        assert cross_val_score(model, X, y, cv=2, error_score="raise").min() > 0
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(X[["age", "job", "pay"]])


def test_frames_of_both_libraries_draw_the_same() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    table = columns(40)
    table["job"][3] = None
    draws = [
        draw_non_models(each, n_submodels=25, n_nonmodels=10, key=b"key")
        for each in (
            pandas.DataFrame(table),
            pandas.DataFrame(table).astype({"job": "category", "age": "float32"}),
            polars.DataFrame(table),
            np.array([*zip(*table.values(), strict=True)], dtype=object),
            [*zip(*table.values(), strict=True)],
        )
    ]
    for other in draws[1:]:
        np.testing.assert_array_equal(other, draws[0])
    alone = draw_non_models(
        pandas.DataFrame(table)[3:4], n_submodels=25, n_nonmodels=10, key=b"key"
    )
    np.testing.assert_array_equal(alone, draws[0][3:4])  # a batch without a string
    table["job"][0] = "pilot"
    changed = draw_non_models(pandas.DataFrame(table), n_submodels=25, n_nonmodels=10, key=b"key")
    assert (changed[0] != draws[0][0]).any()
    np.testing.assert_array_equal(changed[1:], draws[0][1:])


def test_a_numeric_frame_draws_as_its_numbers() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    numbers = np.random.default_rng(0).normal(size=(20, 3))
    numbers[::4, 1] = np.nan
    draws = [
        draw_non_models(each, n_submodels=9, n_nonmodels=3, key=b"key")
        for each in (numbers, pandas.DataFrame(numbers), numbers.astype(object), numbers.tolist())
    ]
    for other in draws[1:]:
        np.testing.assert_array_equal(other, draws[0])


def test_a_copy_sees_no_row_of_its_non_members() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X = pandas.DataFrame(columns())
    model = SplitAIClassifier(Remembers(), **COUNTS).fit(X, labels(X))
    excluded = model.non_models(X)
    for fitted, mine in zip(model.estimators_, excluded.T, strict=True):
        pandas.testing.assert_frame_equal(fitted.seen_, X[~mine])


class Remembers(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Keeps the frame that it was fitted on."""

    def fit(self, X: Any, y: Any) -> Remembers:
        self.seen_, self.classes_ = X, np.unique(y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


@pytest.mark.parametrize("kind", [list, np.array, "series"])
def test_texts(kind: Any) -> None:
    words = ["red apple", "green pear", "blue sky", "grey cloud"]
    texts = [f"{words[i % 4]} number {i}" for i in range(60)]
    y = np.arange(60) % 4 > 1
    if kind == "series":
        kind = pytest.importorskip("pandas", reason="pandas is not installed").Series
    X = kind(texts)
    base = make_pipeline(TfidfVectorizer(), LogisticRegression())
    student = make_pipeline(TfidfVectorizer(), clone(NETWORK))  # of a sparse matrix
    for model in (
        SelenaClassifier(base, **COUNTS),
        SelenaClassifier(base, student=student, **COUNTS),
        SplitAIClassifier(base, **COUNTS),
        MemGuardClassifier(base, epochs=2, random_state=0),
    ):
        fitted = model.fit(X, y)
        assert fitted.score(X, y) > 0.9
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.predict_proba(X[:3]), fitted.predict_proba(X[:3]))


def test_a_network_learns_a_sparse_matrix() -> None:
    rng = np.random.default_rng(0)
    X: Any = sparse.random_array((60, 30), density=0.2, rng=rng, format="csc")
    y = np.arange(60) % 2
    network = clone(NETWORK).set_params(random_state=0)
    dense = clone(network).fit(X.toarray(), y).predict_proba(X.toarray())
    np.testing.assert_allclose(network.fit(X, y).predict_proba(X), dense, rtol=1e-12)
    model = SelenaClassifier(LogisticRegression(), student=NETWORK, **COUNTS)
    assert model.fit(X, y).predict_proba(X).shape == (60, 2)


class WantsNumbers(DecisionTreeClassifier):  # type: ignore[misc]
    """Refuses labels that are not 0 to c - 1, as XGBoost does."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        if not np.array_equal(np.unique(y), np.arange(len(np.unique(y)))):
            raise ValueError("Expected: [0 1 2]")
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("names", [["a", "b", "c"], [1, 2, 3]])
@pytest.mark.parametrize("kind", [SelenaClassifier, SplitAIClassifier])
def test_labels_for_bases_that_want_integers(kind: Any, names: Any) -> None:
    y = np.array(names)[np.arange(60) % 3]
    X = np.random.default_rng(0).normal(size=(60, 2)) + np.arange(60)[:, None] % 3 * 9
    picky = kind(WantsNumbers(class_weight={names[0]: 2.0}), **COUNTS).fit(X, y)
    assert set(picky.predict(X)) == set(names)
    assert picky.score(X, y) > 0.9


def test_an_error_that_labels_do_not_cause_is_kept() -> None:
    class Refuses(DecisionTreeClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            raise ValueError("no such column")

    with pytest.raises(ValueError, match="no such column"):
        SplitAIClassifier(Refuses(), **COUNTS).fit(np.eye(6), list("ababab"))


def test_subjects_by_column_name(frames: Any) -> None:
    table = columns()
    people = [f"person {i // 4}" for i in range(80)]
    X, y = frames.DataFrame({**table, "patient": people}), labels(table)
    settings: dict[str, Any] = {"near_duplicates": "exact", **COUNTS}  # patients are much alike
    named = SplitAIClassifier(BASE, subject_column="patient", **settings).fit(X, y)
    given = SplitAIClassifier(BASE, **settings).fit(frames.DataFrame(table), y, subjects=people)
    assert list(named.feature_names_in_) == ["job", "age", "pay"]
    np.testing.assert_array_equal(named.non_models(X), given.non_models(frames.DataFrame(table)))
    assert len(np.unique(named.non_models(X)[:4], axis=0)) == 1
    student = SelenaClassifier(BASE, subject_column="patient", **settings)
    assert cross_val_score(student, X, y, cv=2, error_score="raise").min() > 0


def test_wrong_subject_columns_are_named() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = columns()
    X, y = pandas.DataFrame(table), labels(table)
    model = SplitAIClassifier(BASE, subject_column="patient", **COUNTS)
    with pytest.raises(DataError, match=r"no column of X.*job, age, pay"):
        model.fit(X, y)
    with pytest.raises(ConfigError, match="names a column of a frame, but X is a ndarray"):
        model.fit(X.to_numpy(), y)
    with pytest.raises(ConfigError, match="Give one of them"):
        model.fit(X, y, subjects=np.arange(80))


def test_weights_leave_out_rows_of_a_frame(frames: Any) -> None:
    table = columns()
    X, y = frames.DataFrame(table), labels(table)
    weight = (np.arange(80) % 3 > 0).astype(float)
    kept = {name: np.array(values, dtype=object)[weight > 0] for name, values in table.items()}
    without = frames.DataFrame(
        {
            "job": kept["job"].tolist(),
            "age": kept["age"].astype(float),
            "pay": kept["pay"].astype(int),
        }
    )
    model = SelenaClassifier(BASE, **COUNTS)
    np.testing.assert_allclose(
        clone(model).fit(X, y, sample_weight=weight).predict_proba(X),
        clone(model).fit(without, y[weight > 0]).predict_proba(X),
    )
