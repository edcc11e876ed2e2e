"""What makes it SELENA: who sees which record, and what is learned of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from selena.content.non_models import draw_non_models
from selena.errors import ConfigError
from selena.sklearn import SelenaClassifier, SplitAIClassifier, TorchClassifier
from selena.sklearn.fitting import FLOOR, aligned_proba, fit_hard, fit_soft

K, L = 5, 2
TREE = DecisionTreeClassifier(min_samples_leaf=3)
CLASSES = np.array(["blue", "green", "red"])


def records(n: int = 90, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, 4)) + y[:, None], CLASSES[y]


def split_ai(X: Any, y: Any, estimator: Any = TREE, **settings: Any) -> SplitAIClassifier:
    return SplitAIClassifier(
        estimator, n_submodels=K, n_nonmodels=L, random_state=0, **settings
    ).fit(X, y)


class Remembers(DecisionTreeClassifier):  # type: ignore[misc]
    """Keeps what it was fitted on."""

    def fit(self, X: Any, y: Any) -> Any:
        self.seen_X_, self.seen_y_ = X, y
        return super().fit(X, y)


def test_a_record_is_seen_by_all_but_its_non_models() -> None:
    X, y = records()
    model = split_ai(X, y, Remembers())
    excluded = model.non_models(X)
    assert (excluded.sum(axis=1) == L).all()
    for fitted, mine in zip(model.estimators_, excluded.T, strict=True):
        np.testing.assert_array_equal(fitted.seen_X_, X[~mine])
        np.testing.assert_array_equal(fitted.seen_y_, y[~mine])


def test_no_copy_sees_other_rows_of_a_hidden_subject() -> None:
    X, y = records()
    subjects = np.char.add("person ", (np.arange(len(X)) // 3).astype(str))
    model = SplitAIClassifier(Remembers(), n_submodels=K, n_nonmodels=L, random_state=0).fit(
        X, y, subjects=subjects
    )
    excluded = model.non_models(X)
    assert (excluded.sum(axis=1) == L).all()
    np.testing.assert_array_equal(excluded[::3], excluded[1::3])
    np.testing.assert_array_equal(excluded[::3], excluded[2::3])
    assert len(np.unique(excluded, axis=0)) > 3
    for fitted, mine in zip(model.estimators_, excluded.T, strict=True):
        np.testing.assert_array_equal(fitted.seen_X_, X[~mine])
    # A stranger is answered as without subjects, and a draw does not depend on the order.
    stranger = records(20, seed=1)[0]
    np.testing.assert_array_equal(model.non_models(stranger), split_ai(X, y).non_models(stranger))
    backwards = split_ai_of_subjects(X[::-1], y[::-1], subjects[::-1])
    np.testing.assert_array_equal(backwards.non_models(X), excluded)


def split_ai_of_subjects(X: Any, y: Any, subjects: Any, **more: Any) -> SplitAIClassifier:
    return SplitAIClassifier(TREE, n_submodels=K, n_nonmodels=L, random_state=0).fit(
        X, y, subjects=subjects, **more
    )


def test_subjects_of_one_change_nothing() -> None:
    X, y = records()
    alone = split_ai_of_subjects(X, y, np.arange(len(X)))
    assert alone.shared_draws_ == {}
    np.testing.assert_array_equal(alone.predict_proba(X), split_ai(X, y).predict_proba(X))


def test_rows_of_nobody_stand_alone() -> None:
    X, y = records()
    alone = split_ai_of_subjects(X, y, [-1] * len(X))
    assert alone.shared_draws_ == {}


def test_subjects_with_a_record_in_common_are_one() -> None:
    X, y = records()
    X[1] = X[0]
    excluded = split_ai_of_subjects(X, y, [0, 1, 0, 1, *range(2, len(X) - 2)]).non_models(X)
    assert len(np.unique(excluded[:4], axis=0)) == 1


def test_a_record_of_weight_zero_links_no_subjects() -> None:
    X, y = records()
    X[1] = X[0]
    weight = np.ones(len(X))
    weight[1] = 0
    subjects = [0, 1, 0, 1, *range(2, len(X) - 2)]
    excluded = split_ai_of_subjects(X, y, subjects, sample_weight=weight).non_models(X)
    np.testing.assert_array_equal(excluded[0], excluded[2])
    assert (excluded[0] != excluded[3]).any()


def test_near_copies_share_non_models() -> None:
    X, y = records()
    both, labels = np.concatenate([X, X[:10] + 1e-6 * X.std(axis=0)]), np.append(y, y[:10])
    settings: dict[str, Any] = {"n_submodels": 12, "n_nonmodels": 5, "random_state": 0}
    found = SplitAIClassifier(DecisionTreeClassifier(), **settings).fit(both, labels)
    exact = SplitAIClassifier(DecisionTreeClassifier(), near_duplicates="exact", **settings)
    drawn, alone = found.non_models(both), exact.fit(both, labels).non_models(both)
    assert np.array_equal(drawn[:10], drawn[len(X) :])
    assert not np.array_equal(alone[:10], alone[len(X) :])
    assert np.array_equal(drawn[10 : len(X)], alone[10 : len(X)])
    assert exact.shared_draws_ == {}


@pytest.mark.parametrize("kind", [SplitAIClassifier, SelenaClassifier])
def test_wrong_near_duplicates_are_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match="near_duplicates"):
        kind(near_duplicates=-1.0).fit(*records())


def test_student_learns_from_non_models_of_subjects() -> None:
    X, y = records()
    subjects = np.arange(len(X)) // 2
    student = Recorder()
    SelenaClassifier(TREE, n_submodels=K, n_nonmodels=L, student=student, random_state=0).fit(
        X, y, subjects=subjects
    )
    expected = split_ai_of_subjects(X, y, subjects).predict_proba(X)
    np.testing.assert_array_equal(Recorder.last[0], expected)
    assert (expected != split_ai(X, y).predict_proba(X)).any()


@pytest.mark.parametrize("kind", [SelenaClassifier, SplitAIClassifier])
@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        ([0, 1], "inconsistent numbers of samples"),
        (["a"] * 88 + [None, None], r"subject of record 88 is missing \(2 in all\)"),
        ([1.0] * 89 + [float("nan")], "integers or strings"),
        (["a"] * 90, r"90 of 90 records are linked"),
        ([-2] * 90, "has the number -2"),
    ],
)
def test_wrong_subjects_are_named(kind: Any, subjects: Any, message: str) -> None:
    X, y = records()
    with pytest.raises(ValueError, match=message):
        kind(TREE, n_submodels=K, n_nonmodels=L).fit(X, y, subjects=subjects)


def test_non_models_ignore_a_record_of_any_label() -> None:
    X, y = records()
    before = split_ai(X, y)
    changed = y.copy()
    changed[0] = "blue" if y[0] != "blue" else "red"
    others_X, others_y = X[1:], y[1:]
    answers = [e.predict_proba(X) for e in before.estimators_]
    for after in (split_ai(X, changed), split_ai(others_X, others_y)):
        same = [
            np.array_equal(e.predict_proba(X), answer)
            for e, answer in zip(after.estimators_, answers, strict=True)
        ]
        assert np.array(same)[before.non_models(X[:1])[0]].all()
        assert not all(same)  # the others saw it


def test_a_member_is_answered_by_its_non_models() -> None:
    X, y = records()
    model = split_ai(X, y)
    mine = model.non_models(X[:1])[0]
    answers = [aligned_proba(e, X[:1], CLASSES) for e in model.estimators_]
    expected = np.mean([a for a, answering in zip(answers, mine, strict=True) if answering], axis=0)
    np.testing.assert_allclose(model.predict_proba(X[:1]), expected)


def test_student_learns_only_what_non_models_say() -> None:
    X, y = records()
    student = Recorder()
    SelenaClassifier(TREE, n_submodels=K, n_nonmodels=L, student=student, random_state=0).fit(X, y)
    soft, classes = Recorder.last
    np.testing.assert_array_equal(soft, split_ai(X, y).predict_proba(X))
    np.testing.assert_array_equal(classes, CLASSES)


class Recorder(TorchClassifier):
    last: tuple[Any, Any]

    def __init__(self) -> None:
        super().__init__((2,), epochs=1)

    def fit_soft(
        self, X: Any, soft: Any, *, classes: Any = None, sample_weight: Any = None
    ) -> Recorder:
        Recorder.last = soft, classes
        super().fit_soft(X, soft, classes=classes, sample_weight=sample_weight)
        return self


@given(st.integers(2, 9), st.integers(0, 2**32), st.data())
@settings(max_examples=30)
def test_draws_depend_on_content_alone(k: int, seed: int, data: st.DataObject) -> None:
    l = data.draw(st.integers(1, k - 1))  # noqa: E741 - the paper's letter
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, size=(20, 3)) / 7
    key = rng.bytes(16)
    excluded = draw_non_models(X, n_submodels=k, n_nonmodels=l, key=key)
    assert (excluded.sum(axis=1) == l).all()
    order = rng.permutation(20)[:11]
    np.testing.assert_array_equal(
        draw_non_models(X[order], n_submodels=k, n_nonmodels=l, key=key), excluded[order]
    )
    _, subject = np.unique(X, axis=0, return_inverse=True)
    for mine in range(subject.max() + 1):
        assert (excluded[subject == mine] == excluded[subject == mine][0]).all()


def test_equal_content_in_other_clothes_draws_the_same() -> None:
    X = np.array([[0.0, 1.5, -2.0], [3.0, np.nan, 0.0], [0.0, 0.0, 0.0], [1.0, 1e300, 4.0]])
    excluded = draw_non_models(X, n_submodels=25, n_nonmodels=10, key=b"key")
    explicit_zeros = sparse.csr_array(
        (X.ravel(), np.tile([0, 1, 2], 4), np.arange(0, 13, 3)), shape=X.shape
    )
    negative_zero = np.where(X == 0, -0.0, X)
    for other in (sparse.csr_array(X), explicit_zeros, negative_zero, np.asfortranarray(X)):
        np.testing.assert_array_equal(
            draw_non_models(other, n_submodels=25, n_nonmodels=10, key=b"key"), excluded
        )
    assert explicit_zeros.nnz == X.size  # a caller's matrix is not touched
    assert (draw_non_models(X, n_submodels=25, n_nonmodels=10, key=b"other") != excluded).any()


def test_sets_are_drawn_uniformly() -> None:
    X = np.arange(4000)[:, None]
    excluded = draw_non_models(X, n_submodels=4, n_nonmodels=2, key=b"key")
    _, counts = np.unique(excluded, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 4000 / 6).max() < 5 * np.sqrt(4000 * 5 / 36)


@pytest.fixture
def many_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.deep), "threading"])
def test_results_do_not_depend_on_n_jobs(backend: str) -> None:
    """Nor on the threads of this process; those of a pool have fewer."""
    if backend == "loky" and "SELENA_TEST_SUMS" in os.environ:
        pytest.skip("other processes add up as this processor does")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 40)), np.arange(300) % 3
    network = TorchClassifier((256, 128), epochs=2)  # large enough for threads to show
    model = SelenaClassifier(network, n_submodels=3, n_nonmodels=1, n_jobs=3, random_state=0)
    alone = clone(model).set_params(n_jobs=1).fit(X, y).predict_proba(X)
    with parallel_config(backend=backend):
        np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), alone)
    assert torch.get_num_threads() == 3


def test_a_copy_that_missed_a_class_says_so() -> None:
    X, y = records()
    fitted = fit_hard(TREE, X[y != "green"], y[y != "green"], None, seed=0, classes=CLASSES)
    proba = aligned_proba(fitted, X, CLASSES)
    assert (proba[:, 1] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    only_red = fit_hard(
        LogisticRegression(), X[y == "red"], y[y == "red"], None, seed=0, classes=CLASSES
    )
    np.testing.assert_array_equal(aligned_proba(only_red, X[:1], CLASSES), [[0, 0, 1]])


def test_rarest_class_and_fewest_records_work() -> None:
    X, y = records()
    y[y == "green"] = "red"
    y[0] = "green"
    proba = split_ai(X, y).predict_proba(X)
    assert proba.shape == (90, 3)
    assert proba[0, 1] == 0  # its non-models never saw the only one
    tiny = SelenaClassifier(LogisticRegression(), n_submodels=25, n_nonmodels=10, random_state=0)
    assert tiny.fit([[0.0], [1.0]], [0, 1]).predict_proba([[0.0]]).sum() == pytest.approx(1)


def test_expanded_rows_stand_for_the_soft_label() -> None:
    soft = np.array([[0.5, 0.3, 0.2], [1 - 1e-4, 1e-4, 0.0]])
    weight = np.array([2.0, 1.0])
    seen: dict[str, Any] = {}

    class Sees(LogisticRegression):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            seen.update(X=X[:, 0], y=y, weight=sample_weight)
            return super().fit(X, y, sample_weight)

    X = np.array([[10.0], [20.0]])
    fit_soft(Sees(), X, soft, weight, classes=CLASSES, seed=0, max_expansion=2)
    assert FLOOR > 1e-4
    np.testing.assert_array_equal(seen["X"], [10, 10, 20])
    np.testing.assert_array_equal(seen["y"], ["blue", "green", "blue"])
    np.testing.assert_allclose(seen["weight"], [2 * 0.625, 2 * 0.375, 1])


def test_rows_repeat_in_proportion_without_weights() -> None:
    n = 400
    soft = np.tile([0.7, 0.25, 0.05], (n, 1))
    fitted = fit_soft(
        KNeighborsClassifier(n_neighbors=10 * n, algorithm="brute"),
        np.zeros((n, 1)),
        soft,
        None,
        classes=CLASSES,
        seed=0,
        max_expansion=11,
    )
    assert fitted.n_samples_fit_ == pytest.approx(11 * n, rel=0.02)
    np.testing.assert_allclose(
        aligned_proba(fitted, np.zeros((1, 1)), CLASSES), soft[:1], atol=0.05
    )


@pytest.mark.parametrize(("k", "l"), [(5, 5), (5, 6), (5, 0), (1, 1)])
@pytest.mark.parametrize("kind", [SelenaClassifier, SplitAIClassifier])
def test_k_must_exceed_l(kind: Any, k: int, l: int) -> None:  # noqa: E741 - the paper's letter
    X, y = records()
    with pytest.raises(ValueError, match=f"1 <= L < K.*n_submodels={k}, n_nonmodels={l}") as caught:
        kind(TREE, n_submodels=k, n_nonmodels=l).fit(X, y)
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": StandardScaler()}, "estimator has no predict_proba"),
        ({"student": make_pipeline(StandardScaler())}, "student has no predict_proba"),
        ({"estimator": DecisionTreeClassifier}, "estimator must be an estimator"),
    ],
)
def test_what_cannot_be_protected_is_named(settings: dict[str, Any], message: str) -> None:
    X, y = records()
    model = SelenaClassifier(**{"estimator": TREE} | settings, n_submodels=3, n_nonmodels=1)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


def leak(model: Any, X: Any, y: Any, members: Any) -> float:
    """Return the largest TPR - FPR of thresholds on the probability of the true class."""
    proba = model.predict_proba(X)[np.arange(len(y)), y]
    points = np.unique(proba)
    rates = [[(proba[side] >= t).mean() for t in points] for side in (members, ~members)]
    return float((np.array(rates[0]) - np.array(rates[1])).max())


@pytest.mark.deep
@pytest.mark.parametrize(
    ("estimator", "leaks"), [(DecisionTreeClassifier(), 0.2), (RandomForestClassifier(30), 0.45)]
)
def test_selena_leaks_less_at_little_cost(estimator: Any, leaks: float) -> None:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:800]
    X, y = X[order], y[order]
    members = np.arange(800) < 400
    bare = clone(estimator).set_params(random_state=0).fit(X[members], y[members])
    protected = SelenaClassifier(estimator, n_submodels=10, n_nonmodels=4, random_state=0).fit(
        X[members], y[members]
    )
    assert leak(bare, X, y, members) > leaks
    assert leak(protected, X, y, members) < 0.75 * leak(bare, X, y, members)
    outside = X[~members], y[~members]
    assert protected.score(*outside) > bare.score(*outside) - 0.12
