"""Regressors, several labels and one probability: figures equal formulas written out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from selena import Predictions, audit, audit_multilabel, audit_regression
from selena.errors import ConfigError, DataError
from selena.models.learned import learned_signal
from selena.models.other_outputs import _Sides

N = 600
MEMBER = np.arange(N) % 2 == 0
KNOWN = np.arange(N) % 4 < 2


def regressor(seed: int = 0) -> tuple[Any, Any]:
    """Predictions whose errors are smaller on members."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=N)
    return y + rng.normal(size=N) * np.where(MEMBER, 0.5, 1.0), y


def auc(scores: Any, truth: Any) -> float:
    """The share of pairs in which the member scores higher; ties count half."""
    members, others = scores[truth][:, None], scores[~truth][None]
    return float(((members > others) + 0.5 * (members == others)).mean())


def scored(report: Any, name: str) -> Any:
    evaluation = report.attacks[name].scores.evaluation
    order = np.argsort(evaluation.ids)
    assert evaluation.ids[order].tolist() == np.flatnonzero(~KNOWN).tolist()
    return evaluation.scores[order]


def test_a_regressor_leaks_by_its_absolute_error() -> None:
    f, y = regressor()
    report = audit_regression(f, y, MEMBER, known=KNOWN, fpr=0.2)
    rest = ~KNOWN
    np.testing.assert_array_equal(scored(report, "absolute_error"), -np.abs(y - f)[rest])
    assert report.auc.value == pytest.approx(auc(-np.abs(y - f)[rest], MEMBER[rest]))
    assert report.auc.value > 0.6
    # A record counts as right up to the median error of known non-members.
    limit = np.median(np.abs(y - f)[KNOWN & ~MEMBER])
    right = np.abs(y - f) <= limit
    assert report.test_accuracy.value == right[rest & ~MEMBER].mean()
    assert report.train_accuracy.value == right[MEMBER].mean()
    (strict,) = [audit_regression(f, y, MEMBER, known=KNOWN, fpr=0.2, tolerance=1e-9)]
    assert strict.test_accuracy.value == 0


def test_a_threshold_on_errors_decides_as_written_out() -> None:
    f, y = regressor()
    report = audit_regression(f, y, MEMBER, known=KNOWN, fpr=0.2)
    score = -np.abs(y - f)
    candidates = np.unique(score[KNOWN])
    known = [
        (score[KNOWN & MEMBER] >= t).mean() - (score[KNOWN & ~MEMBER] >= t).mean()
        for t in candidates
    ]
    best = [t for t, each in zip(candidates, known, strict=True) if each == max(known)]
    possible = [
        (score[~KNOWN & MEMBER] >= t).mean() - (score[~KNOWN & ~MEMBER] >= t).mean() for t in best
    ]
    found = report.attacks["absolute_error"].variants["global"].summary.balanced_accuracy
    assert min(abs(found - (1 + each) / 2) for each in possible) < 1e-9


def test_lira_on_residuals_is_a_likelihood_ratio() -> None:
    f, y = regressor()
    rng = np.random.default_rng(1)
    inside = rng.permuted(np.arange(6)[:, None] % 2 == np.zeros((1, N)), axis=0)
    references = y + rng.normal(size=(6, N)) * np.where(inside, 0.5, 1.0)
    report = audit_regression(
        f, y, MEMBER, known=KNOWN, references=references, inside=inside, fpr=0.2
    )
    # So few models share a variance of all records.
    expected = np.zeros(N)
    for side, sign in ((inside, 1), (~inside, -1)):
        each = [(y - references)[side[:, row], row] for row in range(N)]
        sd = np.sqrt(np.mean([values.var(ddof=1) for values in each]))
        expected += sign * norm.logpdf(y - f, np.mean(each, axis=1), sd)
    np.testing.assert_allclose(scored(report, "lira_residual"), expected[~KNOWN], rtol=1e-6)
    assert report.families == ["direct", "reference-model"]
    # With models that never trained on a record, the size of the error decides.
    offline = audit_regression(
        f, y, MEMBER, known=KNOWN, references=references, inside=inside & False, fpr=0.2
    )
    assert offline.attacks["lira_residual"].variants["global"].summary.auc > 0.6


def test_several_labels_leak_by_their_sum() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((N, 3)) < 0.3).astype(int)
    odds = rng.normal(size=(N, 3)) + (2 * labels - 1) * np.where(MEMBER, 2.0, 1.0)[:, None]
    p = 1 / (1 + np.exp(-odds))
    report = audit_multilabel(p, labels, MEMBER, known=KNOWN, fpr=0.2)
    rest = ~KNOWN
    of_truth = np.where(labels == 1, p, 1 - p)
    loss = np.log(of_truth).sum(axis=1)
    np.testing.assert_allclose(scored(report, "loss"), loss[rest])
    right = of_truth > 0.5
    np.testing.assert_array_equal(scored(report, "correctness"), right.sum(axis=1)[rest])
    log_odds = (np.log(of_truth) - np.log(1 - of_truth)).sum(axis=1)
    np.testing.assert_allclose(scored(report, "confidence"), log_odds[rest], rtol=1e-9)
    entropy = (p * np.log(p) + (1 - p) * np.log(1 - p)).sum(axis=1)
    np.testing.assert_allclose(scored(report, "entropy"), entropy[rest], rtol=1e-9)
    modified = (2 * (1 - of_truth) * np.log(of_truth)).sum(axis=1)
    np.testing.assert_allclose(scored(report, "modified_entropy"), modified[rest], rtol=1e-9)
    assert report.test_accuracy.value == right.all(axis=1)[rest & ~MEMBER].mean()
    found = report.attacks["loss"].variants["global"].summary.auc
    assert found == pytest.approx(auc(loss[rest], MEMBER[rest]))


def test_labels_that_leak_against_each_other() -> None:
    """Members are predicted with more confidence in one label and with less in the other."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (N, 2))
    margin = np.where(MEMBER[:, None], [3.0, 1.0], [1.0, 3.0]) + 0.5 * rng.normal(size=(N, 2))
    p = 1 / (1 + np.exp(-(2 * labels - 1) * margin))
    report = audit_multilabel(p, labels, MEMBER, known=KNOWN, fpr=0.2)
    summed = report.attacks["confidence"].variants["global"].summary.auc
    assert summed == pytest.approx(0.5, abs=0.2)  # six standard deviations of 150 and 150
    assert report.attacks["learned"].variants["global"].summary.auc > 0.9
    assert report.auc.attack == "learned"


def test_what_is_learned_is_of_known_records() -> None:
    rng = np.random.default_rng(0)
    features, whose = rng.normal(size=(N, 3)), np.arange(N)
    score = learned_signal(features, MEMBER, KNOWN, whose, seed=0)
    other = np.where(KNOWN, MEMBER, ~MEMBER)
    np.testing.assert_array_equal(learned_signal(features, other, KNOWN, whose, seed=0), score)
    # Nothing is to be learned here, and known records are not scored by trees that saw them.
    assert score is not None
    for rows in (KNOWN, ~KNOWN):
        assert auc(score[rows], MEMBER[rows]) == pytest.approx(0.5, abs=0.2)
    few = KNOWN & (np.arange(N) < 150)
    assert learned_signal(features, MEMBER, few, whose, seed=0) is None


def test_probabilities_of_0_and_1_are_no_obstacle() -> None:
    p = np.where(MEMBER, 1.0, 0.0)[:, None] * np.ones((1, 2))
    report = audit_multilabel(p, np.ones((N, 2)), MEMBER, known=KNOWN, fpr=0.2)
    assert report.auc.value == 1


def test_one_probability_with_1_percent_positives() -> None:
    """The positives alone leak here; averages hide it, the class does not."""
    from selena.auditing.vulnerability import class_leakage

    rng = np.random.default_rng(0)
    n = 20_000
    member, known = np.arange(n) % 2 == 0, np.arange(n) % 4 < 2
    y = (np.arange(n) % 100 < 4) & (np.arange(n) % 400 < 100)
    assert y.mean() == 0.01
    p = np.clip(rng.normal(0.1, 0.02, n), 0.001, 1)
    p[y & member], p[y & ~member] = 0.9, 0.2
    report = audit(Predictions(p, y.astype(int), member, known), attacks=("confidence",))
    twice = audit(
        Predictions(np.column_stack([1 - p, p]), y.astype(int), member, known),
        attacks=("confidence",),
    )
    assert report == twice
    evaluation = report.attacks["confidence"].scores.evaluation
    of_label = np.where(y, p, 1 - p)[evaluation.ids]
    expected = auc(np.log(of_label) - np.log1p(-of_label), evaluation.truth)
    assert report.auc.value == pytest.approx(expected)
    assert report.auc.value < 0.55
    scores = report.attacks["confidence"].scores
    leaks = {each.label: each for each in class_leakage(scores, per_class=True)}
    assert leaks[1].balanced_accuracy == 1
    assert leaks[0].balanced_accuracy < 0.55


def test_rows_of_a_subject_stay_together() -> None:
    subjects = np.arange(N) // 2 * 2 + 7
    member = np.arange(N) // 2 % 2 == 0
    table = _Sides.of(N, member, None, 0.5, subjects, 0)
    assert (table.known[::2] == table.known[1::2]).all()
    assert 0.45 < table.known.mean() < 0.55
    f, y = regressor()
    report = audit_regression(f, y, member, subjects=subjects, fpr=0.2)
    assert report.counts()["evaluation_records"] == 2 * report.counts()["evaluation_members"] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": np.zeros((N, 2))}, "audit each number on its own"),
        ({"predicted": np.zeros(N - 1)}, "numbers of records disagree"),
        ({"y": np.full(N, np.nan)}, "not finite, the first in row 0"),
        ({"member": np.arange(N)}, "True or False for each of 600"),
        ({"member": np.ones(N, bool)}, "There are no known non-members"),
        ({"references": np.zeros((4, 3)), "inside": np.zeros((4, 3), bool)}, "models x 600"),
        ({"y": ["a"] * N}, "y are no numbers"),
    ],
)
def test_what_no_regressor_answers_is_refused(change: dict[str, Any], message: str) -> None:
    f, y = regressor()
    given = {"predicted": f, "y": y, "member": MEMBER, "known": KNOWN} | change
    with pytest.raises(DataError, match=message):
        audit_regression(**given)


def test_settings_out_of_range_are_refused() -> None:
    f, y = regressor()
    for wrong in ({"tolerance": 0.0}, {"known_fraction": 1.0}, {"references": np.zeros((4, N))}):
        with pytest.raises(ConfigError):
            audit_regression(f, y, MEMBER, **wrong)


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        (np.full((N, 2), 1.5), np.ones((N, 2)), "sigmoid outputs, not logits"),
        (np.ones((N, 2)), np.full((N, 2), 2), "other values than 0 and 1"),
        (np.ones((N, 2)), np.ones((N, 3)), "one column per"),
    ],
)
def test_what_is_no_label_is_refused(p: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        audit_multilabel(p, labels, MEMBER, known=KNOWN)


def test_audit_points_to_the_right_function() -> None:
    from sklearn.linear_model import LinearRegression

    x = np.random.default_rng(0).normal(size=(20, 2))
    model = LinearRegression().fit(x, x[:, 0])
    with pytest.raises(ConfigError, match="audit_regression"):
        audit(model, (x[:10], np.zeros(10, int)), (x[10:], np.zeros(10, int)))
