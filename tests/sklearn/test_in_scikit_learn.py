"""Protected classifiers where scikit-learn's users have their classifiers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from selena.sklearn import (
    MemGuardClassifier,
    SelenaClassifier,
    SplitAIClassifier,
    TorchClassifier,
)

LINEAR = LogisticRegression()
MODELS = [
    SelenaClassifier(LINEAR, n_submodels=4, n_nonmodels=2, random_state=0),
    SplitAIClassifier(LINEAR, n_submodels=4, n_nonmodels=2, random_state=0),
    MemGuardClassifier(LINEAR, epochs=2, random_state=0),
    TorchClassifier((8,), epochs=10, batch_size=32, learning_rate=0.1, random_state=0),
]

pytestmark = [
    pytest.mark.usefixtures("short_walks"),
    # Scalers stand outside on purpose.
    pytest.mark.filterwarnings("ignore:X looks as if:selena.errors.AuditWarning"),
]


@pytest.fixture
def frame() -> tuple[Any, Any]:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    X = 3 * np.eye(3)[y] + rng.normal(size=(120, 3))
    labels = pd.Series(np.array(["dog", "cat", "emu"])[y], name="animal")
    return pd.DataFrame(X, columns=["legs", "tail", "height"]), labels


@pytest.mark.parametrize(
    "pipeline",
    [
        make_pipeline(SimpleImputer(), StandardScaler(), LINEAR),
        make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=5)),
    ],
)
def test_pipelines_take_missing_values_inside(pipeline: Any) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    X[::7, 1] = np.nan
    model = SplitAIClassifier(pipeline, n_submodels=4, n_nonmodels=2, random_state=0).fit(X, y)
    assert model.predict_proba(X).shape == (60, 2)
    with pytest.raises(ValueError, match="NaN"):
        SplitAIClassifier(make_pipeline(Normalizer(), LINEAR), n_submodels=4, n_nonmodels=2).fit(
            X, y
        )


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_frames_strings_pipelines_and_pickles(model: Any, frame: tuple[Any, Any]) -> None:
    X, y = frame
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), clone(model))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.8
    fitted = pipeline.fit(X, y)[-1]
    np.testing.assert_array_equal(fitted.feature_names_in_, ["legs", "tail", "height"])
    np.testing.assert_array_equal(fitted.classes_, ["cat", "dog", "emu"])
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))
    assert set(pipeline.predict(X)) == {"cat", "dog", "emu"}


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_polars_frames(model: Any, frame: tuple[Any, Any]) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    X, y = frame
    records = polars.DataFrame(X.to_dict("list"))
    scaler = StandardScaler().set_output(transform="polars")
    pipeline = make_pipeline(scaler, clone(model)).fit(records, polars.Series(y.to_list()))
    np.testing.assert_array_equal(pipeline[-1].feature_names_in_, ["legs", "tail", "height"])
    pandas = make_pipeline(StandardScaler().set_output(transform="pandas"), clone(model)).fit(X, y)
    from_polars, from_pandas = pipeline.predict_proba(records), pandas.predict_proba(X)
    np.testing.assert_allclose(from_polars, from_pandas, atol=1e-6)  # laid out otherwise in memory
    with pytest.raises(ValueError, match="feature names"):
        pipeline[-1].predict(records.rename({"tail": "beak"}))


@pytest.mark.deep
@pytest.mark.parametrize("model", MODELS[:3], ids=lambda m: type(m).__name__)
def test_grid_search_reaches_the_protected_estimator(model: Any, frame: tuple[Any, Any]) -> None:
    X, y = frame
    own = {"epochs": [1, 2]} if isinstance(model, MemGuardClassifier) else {"n_nonmodels": [1, 2]}
    grid = {"estimator__C": [1e-6, 1.0], **own}
    search = GridSearchCV(clone(model), grid, cv=2).fit(X, y)
    assert search.best_params_["estimator__C"] == 1.0
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda m: type(m).__name__)
def test_sparse_records_are_the_same_records(model: Any) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    X = rng.poisson(1 + np.outer(y, [0, 0, 3, 0]))
    model = clone(model).set_params(estimator=MultinomialNB())
    dense = model.fit(X, y).predict_proba(X)
    matrix = sparse.csc_array(X)
    np.testing.assert_allclose(clone(model).fit(matrix, y).predict_proba(matrix), dense)
    np.testing.assert_allclose(model.predict_proba(matrix), dense)
    with pytest.raises(TypeError, match=r"[Ss]parse"):  # boosting takes none
        clone(model).set_params(estimator=HistGradientBoostingClassifier()).fit(matrix, y)


def test_missing_values_pass_where_taken() -> None:
    rng = np.random.default_rng(0)
    X = np.where(rng.random((60, 3)) < 0.2, np.nan, rng.normal(size=(60, 3)))
    y = np.arange(60) % 2
    tree = DecisionTreeClassifier()
    assert SelenaClassifier(tree, n_submodels=4, n_nonmodels=2).fit(X, y).predict(X).shape == (60,)
    with pytest.raises(ValueError, match="NaN"):
        SelenaClassifier(tree, n_submodels=4, n_nonmodels=2, student=LINEAR).fit(X, y)


@pytest.mark.deep
# One of each way to heed weights: as such, by the last step's name, by repeated rows, in the loss.
@pytest.mark.parametrize(
    "estimator",
    [LINEAR, make_pipeline(StandardScaler(), LINEAR), LinearDiscriminantAnalysis(), MODELS[-1]],
    ids=["weights", "pipeline", "repeats", "loss"],
)
@pytest.mark.parametrize("model", MODELS[:2], ids=lambda m: type(m).__name__)
def test_weights_are_heeded(model: Any, estimator: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = (rng.random(300) < 0.5).astype(int)
    weight = np.where(y == 1, 4.0, 1.0)
    model = clone(model).set_params(estimator=estimator)
    plain = clone(model).fit(X, y).predict_proba(X)[:, 1].mean()
    weighted = clone(model).fit(X, y, sample_weight=weight).predict_proba(X)[:, 1].mean()
    assert plain == pytest.approx(0.5, abs=0.1)
    assert weighted == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_records_of_weight_zero_are_never_seen(model: Any, frame: tuple[Any, Any]) -> None:
    X, y = frame
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    kept = weight > 0
    without = clone(model).fit(X[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(
        clone(model).fit(X, y, sample_weight=weight).predict_proba(X), without.predict_proba(X)
    )


@pytest.mark.parametrize("kind", [SelenaClassifier, SplitAIClassifier, MemGuardClassifier])
@pytest.mark.parametrize("requested", [True, False])
def test_weights_are_routed(kind: Any, requested: bool, frame: tuple[Any, Any]) -> None:
    X, y = frame
    weight = np.where(y == "dog", 50.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        final = LogisticRegression().set_fit_request(sample_weight=requested)
        inner = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), final)
        counts = {} if kind is MemGuardClassifier else {"n_submodels": 4, "n_nonmodels": 2}
        model = kind(inner, **counts, random_state=0).set_fit_request(sample_weight=True)
        outer = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        plain = clone(outer).fit(X, y).predict_proba(X)[:, 1].mean()
        routed = outer.fit(X, y, sample_weight=weight).predict_proba(X)[:, 1].mean()
    assert routed > plain + 0.03


@pytest.mark.parametrize("kind", [SelenaClassifier, SplitAIClassifier])
def test_subjects_are_routed(kind: Any, frame: tuple[Any, Any]) -> None:
    X, y = frame
    subjects = np.arange(len(y)) // 4
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(LINEAR, n_submodels=4, n_nonmodels=2, random_state=0)
        plain = make_pipeline(StandardScaler(), clone(model).set_fit_request(subjects=False))
        routed = make_pipeline(StandardScaler(), model.set_fit_request(subjects=True))
        scores = [
            each.fit(X, y, **given).predict_proba(X)
            for each, given in ((plain, {}), (routed, {"subjects": subjects}))
        ]
    assert (scores[0] != scores[1]).any()


def test_soft_labels_are_learned_as_they_are() -> None:
    X = np.repeat(np.eye(3), 20, axis=0)
    soft = np.repeat([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], 20, axis=0)
    network = TorchClassifier((16,), epochs=60, learning_rate=0.01, random_state=0)
    network.fit_soft(X, soft, classes=["a", "b", "c"])
    np.testing.assert_allclose(network.predict_proba(X), soft, atol=0.03)
    assert set(network.predict(X)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("soft", "classes", "message"),
    [
        ([[0.5, 0.6]] * 4, None, "of sum 1"),
        ([[1.5, -0.5]] * 4, None, ">= 0"),
        ([[0.5, 0.5]] * 4, ["b", "a"], "sorted labels"),
        ([[0.5, 0.5]] * 3, None, "inconsistent numbers"),
        ([[1.0]] * 4, None, "minimum of 2"),
    ],
)
def test_bad_soft_labels_are_refused(soft: Any, classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchClassifier((2,)).fit_soft(np.eye(4), soft, classes=classes)
