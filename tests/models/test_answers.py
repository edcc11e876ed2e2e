"""What a model's answers are taken for, and whose labels count."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import FixedThresholdClassifier
from torch import nn

import selena
from selena.attacks.gaussian_noise import GaussianNoiseAttack
from selena.auditing.report import AuditReport
from selena.data.checks import are_probabilities
from selena.errors import ConfigError, DataError
from selena.models import AuditWarning, audit

N = 200
IDS, MEMBER = np.arange(N)[:, None], np.arange(N) < N // 2


class Table(nn.Module):
    """Answers a record by its row."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rows[x[:, 0].long()]


class PerClass(RandomForestClassifier):  # type: ignore[misc]
    """Answers as one model per class does."""

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X) ** 0.5


class Callable_:
    """What can be fitted and called, as a network of Keras."""

    def fit(self, x: Any, y: Any) -> Any:
        return self

    def __call__(self, x: Any) -> Any:
        return np.full((len(x), 2), 0.5)


def rounded(kind: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities that were rounded, and labels."""
    draw = np.random.default_rng(classes)
    exact = torch.from_numpy(draw.normal(size=(N, classes))).softmax(dim=1)
    coarse = exact.bfloat16() if kind == "bfloat16" else exact.mul(1000).round().div(1000)
    return coarse.double().numpy(), draw.integers(0, classes, N)


def report_on(model: Any, labels: np.ndarray, **settings: Any) -> AuditReport:
    half = N // 2
    sides = (IDS[:half], labels[:half]), (IDS[half:], labels[half:])
    return audit(model, *sides, **{"attacks": ["entropy"], "fpr": 0.5, **settings})


def records(n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, 5))
    return x, (x[:, 0] + 0.8 * draw.normal(size=n) > 1).astype(int)


@pytest.mark.parametrize(
    ("kind", "classes"), [("bfloat16", 2), ("bfloat16", 20), ("three decimals", 100)]
)
def test_rounded_probabilities_are_taken_everywhere(kind: str, classes: int) -> None:
    p, y = rounded(kind, classes)
    assert np.abs(p.sum(axis=1) - 1).max() > 1e-3
    network = report_on(Table(torch.from_numpy(p)), y).to_json()
    function = report_on(lambda x: p[x[:, 0]], y).to_json()
    assert network == function
    selena.Predictions(p, y, MEMBER, np.arange(N) % 2 == 0)


def test_other_sums_are_no_probabilities() -> None:
    rows = np.array([[0.5, 0.5], [0.5, 0.51], [-0.1, 1.1], [0.5, np.nan], [1.0, 0.0]])
    assert are_probabilities(rows).tolist() == [True, False, False, False, True]
    assert are_probabilities(np.array([[0.3], [1.2]])).tolist() == [True, False]


def test_logits_that_look_like_probabilities_are_named() -> None:
    rows = torch.from_numpy(np.random.default_rng(0).uniform(0.1, 0.9, (N, 3)))
    y = np.arange(N) % 3
    with pytest.warns(AuditWarning, match="between 0 and 1 .* read as logits"):
        report_on(Table(rows), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report_on(Table(rows), y, output="logits")
        report_on(Table(rows * 9), y)


def test_rows_of_one_model_per_class_are_scaled() -> None:
    x, y = records()
    forest = PerClass(10, random_state=0).fit(x[:120], y[:120])
    sides = (x[:120], y[:120]), (x[120:], y[120:])
    with pytest.warns(AuditWarning, match=r"rows that sum to .*divided by its sum"):
        found = audit(forest, *sides, attacks=["confidence"], fpr=0.5)

    def scaled(rows: np.ndarray) -> np.ndarray:
        answers: np.ndarray = forest.predict_proba(rows)
        return np.asarray(answers / answers.sum(axis=1, keepdims=True))

    expected = audit(scaled, *sides, attacks=["confidence"], fpr=0.5).attacks["confidence"]
    np.testing.assert_allclose(
        found.attacks["confidence"].scores.evaluation.scores, expected.scores.evaluation.scores
    )
    with pytest.raises(DataError, match="divide each row by its sum"):
        audit(forest.predict_proba, *sides, attacks=["confidence"], fpr=0.5)


@pytest.mark.parametrize("more", [[], [GaussianNoiseAttack((0.1,), copies=2)]])
def test_labels_are_those_of_predict(more: list[Any]) -> None:
    x, y = records()
    members, others = (x[:120], y[:120]), (x[120:], y[120:])
    forest = RandomForestClassifier(10, random_state=0)
    model = FixedThresholdClassifier(forest, threshold=0.15).fit(*members)
    attacks = ["correctness", "confidence", *more]
    with pytest.warns(AuditWarning, match=r"another label than its most .* of 240 records"):
        found = audit(model, members, others, attacks=attacks, fpr=0.5)
    scored = found.attacks["correctness"].scores.evaluation
    right = model.predict(x) == y
    np.testing.assert_array_equal(scored.scores, right[scored.ids])
    assert found.test_accuracy.value == pytest.approx(right[scored.ids[~scored.truth]].mean())


def test_a_label_that_is_no_class_is_named() -> None:
    class Odd(RandomForestClassifier):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:
            return np.full(len(X), "neither")

    x, y = records()
    forest = Odd(5, random_state=0).fit(x, y)
    with pytest.raises(DataError, match="predicts 'neither'"):
        audit(forest, (x[:120], y[:120]), (x[120:], y[120:]), fpr=0.5)


def test_what_is_fitted_and_called_is_a_function() -> None:
    y = np.arange(N) % 2
    with pytest.warns(AuditWarning, match="the same answer"):
        report_on(Callable_(), y)


def test_an_unfitted_estimator_is_named() -> None:
    with pytest.raises(ConfigError, match=r"not fitted, or no classifier.*pass a function"):
        report_on(RandomForestClassifier(), np.arange(N) % 2)
