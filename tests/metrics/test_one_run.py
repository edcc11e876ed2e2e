"""The bound on epsilon: what is published by hand, what is proved of it by simulation."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Float
from scipy.stats import binom

from selena.errors import ConfigError, DataError
from selena.metrics import epsilon_lower_bound, gaussian_epsilon_lower_bound
from selena.metrics.one_run import SHARES, _chance, _crossing, epsilon_of_gaussian

Case = tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " m"]]


def coins(m: int, seed: int) -> Bool[np.ndarray, " m"]:
    return np.random.default_rng(seed).random(m) < 0.5


def randomized_response(m: int, epsilon: float, seed: int) -> Case:
    """Answer each canary's membership rightly as often as pure DP allows, and be sure of it."""
    truth = coins(m, seed)
    right = np.random.default_rng(seed + 1).random(m) < exp(epsilon) / (1 + exp(epsilon))
    jitter = np.random.default_rng(seed + 2).random(m) / 10
    return np.where(right, truth, ~truth) + jitter, truth


def test_all_right_guesses_give_the_closed_form() -> None:
    truth = np.arange(1000) < 500
    scores = truth.astype(float)
    bound = epsilon_lower_bound(scores, truth, delta=0.0, guesses=900)
    assert (bound.guesses, bound.correct) == (900, 900)
    # Under epsilon all are right with probability sigmoid(epsilon)^900.
    right = 0.05 ** (1 / 900)
    assert bound.epsilon == pytest.approx(log(right / (1 - right)), abs=1e-3)
    chosen = epsilon_lower_bound(scores, truth, delta=0.0)
    assert (chosen.guesses, chosen.correct) == (900, 900)
    assert bound.epsilon - 0.3 < chosen.epsilon <= bound.epsilon


@given(
    st.integers(1, 60),
    st.data(),
    st.floats(0, 6),
    st.sampled_from([0.0, 1e-5, 1e-3]),
)
def test_the_likelihood_is_that_of_the_theorem(
    guesses: int, data: st.DataObject, epsilon: float, delta: float
) -> None:
    correct, m = data.draw(st.integers(1, guesses)), 100
    right = 1 / (1 + exp(-epsilon))
    at_least = [binom.sf(v - 1, guesses, right) for v in range(correct + 1)]
    steepest = max((at_least[correct - i] - at_least[correct]) / i for i in range(1, correct + 1))
    expected = min(1.0, at_least[correct] + 2 * m * delta * steepest)
    found = _chance([(guesses, correct)], m, delta, epsilon)
    assert found == pytest.approx(expected, abs=1e-9)


def test_several_counts_are_paid_for_exactly() -> None:
    """How often coins reach any of three counts, by simulation: within six standard deviations."""
    checks, draws, epsilon = [(10, 9), (40, 30), (120, 82)], 40_000, 0.5
    coins = np.random.default_rng(0).random((draws, 120)) < 1 / (1 + exp(-epsilon))
    right = coins.cumsum(axis=1)
    for shift in (0, 2):
        reached = np.any([right[:, n - 1] >= enough - shift for n, enough in checks], axis=0)
        spread = float(np.sqrt(reached.mean() * (1 - reached.mean()) / draws))
        assert abs(_crossing(checks, epsilon, shift) - reached.mean()) < 6 * spread


def test_choosing_costs_less_than_dividing() -> None:
    """The best of twelve counts, each at a twelfth of the error, proves less."""
    scores, truth = gaussian_mechanism(300, 2.0, 0)
    divided = [
        epsilon_lower_bound(
            scores, truth, confidence=1 - 0.05 / 12, guesses=2 * round(share * 300)
        ).epsilon
        for share in SHARES
    ]
    assert epsilon_lower_bound(scores, truth).epsilon > max(divided) + 0.03


@pytest.mark.parametrize("guesses", [0, 7, 302])
def test_a_wrong_number_of_guesses_is_refused(guesses: int) -> None:
    with pytest.raises(ConfigError, match=rf"guesses is {guesses}.*2 to 300"):
        epsilon_lower_bound(*gaussian_mechanism(300, 1.0, 0), guesses=guesses)


def test_bound_covers_and_is_near_with_many_canaries() -> None:
    bounds = [
        epsilon_lower_bound(*randomized_response(200, 1.5, 10 * seed)).epsilon for seed in range(60)
    ]
    assert sum(bound > 1.5 for bound in bounds) <= 13  # 5 %, and six standard deviations
    assert np.median(bounds) > 0.9


def test_whole_numbers_and_truth_values_are_scores_too() -> None:
    truth = coins(200, 0)
    expected = epsilon_lower_bound(truth.astype(float), truth)
    assert epsilon_lower_bound(truth.astype(np.uint8), truth) == expected
    assert expected.epsilon > 3


def test_guessing_proves_nothing() -> None:
    draws = np.random.default_rng(0)
    bounds = [
        epsilon_lower_bound(draws.random(200), coins(200, seed)).epsilon for seed in range(100)
    ]
    assert sum(bound > 0 for bound in bounds) <= 18


def test_ties_prove_nothing_whoever_comes_first() -> None:
    for truth in (np.arange(100) < 50, np.arange(100) >= 50):
        assert epsilon_lower_bound(np.zeros(100), truth).epsilon == 0


def test_a_wrong_sign_proves_nothing() -> None:
    truth = coins(200, 0)
    assert epsilon_lower_bound(-truth.astype(float), truth).epsilon == 0
    assert epsilon_lower_bound(truth.astype(float), truth).epsilon > 2


@given(st.integers(0, 1000))
def test_order_does_not_matter(seed: int) -> None:
    scores, truth = randomized_response(80, 2.0, seed)
    scores = scores.round(1)  # with ties
    order = np.random.default_rng(seed).permutation(80)
    assert epsilon_lower_bound(scores, truth) == epsilon_lower_bound(scores[order], truth[order])


@pytest.mark.parametrize("settings", [{"delta": 1.0}, {"delta": -0.1}, {"confidence": 1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="delta in"):
        epsilon_lower_bound(np.zeros(40), np.arange(40) < 20, **settings)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        epsilon_lower_bound(np.full(40, np.nan), np.arange(40) < 20)


@pytest.mark.parametrize(("sigma", "epsilon"), [(0.5, 9.99), (1.0, 4.37), (2.0, 1.99)])
def test_epsilon_of_a_gaussian_is_the_published_one(sigma: float, epsilon: float) -> None:
    """Mahloujifar, Melis & Chaudhuri 2025, Table 1, delta = 1e-5."""
    assert epsilon_of_gaussian(1 / sigma, 1e-5) == pytest.approx(epsilon, abs=0.01)


def gaussian_mechanism(m: int, mu: float, seed: int) -> Case:
    truth = coins(m, seed)
    return np.random.default_rng(seed + 1).normal(size=m) + mu * truth, truth


@pytest.mark.parametrize("mu", [0.0, 2.0])
def test_gaussian_bound_covers(mu: float) -> None:
    """Of 100 draws 5 % may fail; 18 is six standard deviations above that."""
    bounds = [
        gaussian_epsilon_lower_bound(*gaussian_mechanism(50, mu, 10 * seed)).epsilon
        for seed in range(100)
    ]
    assert sum(bound > epsilon_of_gaussian(mu, 1e-5) for bound in bounds) <= 18


def test_gaussian_bound_is_the_tighter_one() -> None:
    drawn = [gaussian_mechanism(300, 1.67, 10 * seed) for seed in range(3)]
    both = [
        (gaussian_epsilon_lower_bound(*each).epsilon, epsilon_lower_bound(*each).epsilon)
        for each in drawn
    ]
    assert all(gaussian > general for gaussian, general in both)


def test_gaussian_bound_needs_a_delta() -> None:
    with pytest.raises(ConfigError, match="give delta > 0"):
        gaussian_epsilon_lower_bound(*gaussian_mechanism(40, 1.0, 0), delta=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
def test_gaussian_bound_covers_in_1000_draws(mu: float) -> None:
    """Of 1,000 draws 5 % may fail; 92 is six standard deviations above that."""
    bounds = [
        gaussian_epsilon_lower_bound(*gaussian_mechanism(300, mu, 10 * seed)).epsilon
        for seed in range(1000)
    ]
    assert sum(bound > epsilon_of_gaussian(mu, 1e-5) for bound in bounds) <= 92


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 2.0, 4.0])
def test_bound_covers_in_1000_draws(epsilon: float) -> None:
    """Of 1,000 draws 5 % may fail; 92 is six standard deviations above that."""
    bounds = [
        epsilon_lower_bound(*randomized_response(300, epsilon, 10 * seed)).epsilon
        for seed in range(1000)
    ]
    assert sum(bound > epsilon for bound in bounds) <= 92
