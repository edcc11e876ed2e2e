"""Empirical Bayes from reference models, against its formulas written out and against LiRA."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

import selena
from selena.attacks import ReferenceMatrix, ReferenceMatrixAttack, ReferenceModelAttack
from selena.attacks.reference_scores import (
    bavaria_scores,
    empirical_bayes_scores,
    lira_scores,
    rmia_scores,
)
from selena.defenses import Undefended
from selena.errors import ConfigError, DataError
from selena.metrics import roc_curve
from selena.metrics.low_fpr import tpr_at_fpr
from selena.networks.mlp import MLP
from selena.training.recipe import Recipe

Pool = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def pool(runs: int, n: int, *, leak: float = 2.0, seed: int = 0) -> Pool:
    """Return target, references, inside, truth: hard records gain more, and vary more."""
    draws = np.random.default_rng(seed)
    hardness = draws.normal(0, 2, n)
    spread = np.exp(-hardness / 3)
    inside = np.tile(np.arange(runs) < runs // 2, (n, 1))
    inside = draws.permuted(inside, axis=1).T
    truth = draws.random(n) < 0.5
    answers = hardness + spread * draws.normal(size=(runs + 1, n))
    gain = leak * spread
    return answers[-1] + gain * truth, answers[:-1] + gain * inside, inside, truth


def test_the_score_is_that_of_the_formulas() -> None:
    """By the covariance of both means with their noisy observations, record by record."""
    n = 240  # so the nearest 50 records
    target, references, inside, _ = pool(6, n)
    values = [[references[side[:, i], i] for side in (inside, ~inside)] for i in range(n)]
    means = np.array([[x.mean() for x in pair] for pair in values])
    own = np.array([[x.var(ddof=1) for x in pair] for pair in values])
    middles = means.mean(axis=1)
    order = np.argsort(middles)
    observed = np.cov(means.T, ddof=0)
    signal = np.maximum(np.diag(observed) - own.mean(axis=0) / 3, np.diag(observed) / 100)
    common = observed[0, 1]
    assert abs(common) < 0.99 * np.sqrt(signal.prod())
    prior = np.array([[signal[0], common], [common, signal[1]]])
    expected = []
    for i in range(n):
        first = min(max(int((middles < middles[i]).sum()) - 25, 0), n - 50)
        near = own[order[first : first + 50]].mean(axis=0)
        variance = (4 * near + 2 * own[i]) / 6
        gain = prior @ np.linalg.inv(prior + np.diag(variance / 3))
        center = means.mean(axis=0) + gain @ (means[i] - means.mean(axis=0))
        scale = np.sqrt(variance + np.diag(prior - gain @ prior))
        member, other = norm.logpdf(target[i], center, scale)
        expected.append(member - other)
    found = empirical_bayes_scores(target, references, inside)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def tpr_of(scores: np.ndarray, truth: np.ndarray) -> float:
    return tpr_at_fpr(roc_curve(scores, truth), 0.01).tpr


@pytest.mark.parametrize(("runs", "seed"), [(4, 0), (4, 1), (8, 0), (16, 0)])
def test_it_finds_more_than_others_with_few_models(runs: int, seed: int) -> None:
    target, references, inside, truth = pool(runs, 4_000, seed=seed)
    found = tpr_of(empirical_bayes_scores(target, references, inside), truth)
    for other in (lira_scores, rmia_scores, bavaria_scores):
        assert found > tpr_of(other(target, references, inside), truth) + 0.02


def test_with_many_models_it_is_lira() -> None:
    target, references, inside, _ = pool(400, 300)
    own = lira_scores(target, references, inside, variance="record")
    assert spearmanr(empirical_bayes_scores(target, references, inside), own).statistic > 0.99


def test_pieces_of_the_records_score_as_all_of_them() -> None:
    """A matrix knows all of its records, whichever of them are asked about."""
    target, references, inside, truth = pool(6, 400)
    p = 1 / (1 + np.exp(-target))
    predictions = selena.Predictions(
        np.column_stack([p, 1 - p]), np.zeros(400, np.int64), truth, np.arange(400) % 2 == 0
    )
    attack = ReferenceMatrixAttack(ReferenceMatrix(references, inside), "empirical_bayes")
    found = selena.audit(predictions, attacks=[attack], fpr=1.0).attacks["empirical_bayes"].scores
    expected = empirical_bayes_scores(target, references, inside)
    for part in (found.evaluation, found.calibration):
        np.testing.assert_allclose(part.scores, expected[part.ids], rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 30])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_few_or_equal_records_have_finite_scores(n: int, spread: float) -> None:
    draws = np.random.default_rng(0)
    inside = np.arange(4)[:, None] < np.full(n, 2)
    target, *references = spread * draws.normal(size=(5, n))
    found = empirical_bayes_scores(target, np.array(references).reshape(4, n), inside)
    assert found.shape == (n,)
    assert np.isfinite(found).all()


def test_infinite_answers_are_cut() -> None:
    target, references, inside, _ = pool(6, 300)
    references[0, :10], target[10:20] = np.inf, -np.inf
    found = empirical_bayes_scores(target, references, inside)
    assert np.isfinite(found).all()


def test_two_models_per_side_are_needed() -> None:
    target, references, inside, _ = pool(6, 30)
    inside[:, 7] = np.arange(6) == 0
    with pytest.raises(DataError, match="1 reference models that trained on it; 2 are"):
        empirical_bayes_scores(target, references, inside)


def test_offline_is_refused_with_the_attack_to_use() -> None:
    defense = Undefended(MLP(4, 2), 2, Recipe(epochs=1))
    with pytest.raises(ConfigError, match="bavaria with online=False"):
        ReferenceModelAttack(defense, "empirical_bayes", online=False)
