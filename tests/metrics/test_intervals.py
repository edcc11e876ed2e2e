from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from selena.errors import ConfigError, DataError
from selena.metrics import (
    Interval,
    advantage_interval,
    auc_interval,
    clopper_pearson,
    roc_curve,
    wilson,
)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.9, 0.95, 0.999]))
def test_proportions_agree_with_scipy(trials: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, trials))
    test = binomtest(successes, trials)
    exact = test.proportion_ci(confidence, method="exact")
    assert clopper_pearson(successes, trials, confidence=confidence) == pytest.approx(
        (exact.low, exact.high), abs=1e-9
    )
    score = test.proportion_ci(confidence, method="wilson")
    assert wilson(successes / trials, trials, confidence=confidence) == pytest.approx(
        (score.low, score.high), abs=1e-9
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Newcombe 1998, table II: examples (a), (c) and (e), method 10.
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
    ],
)
def test_advantage_agrees_with_newcombe(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    assert advantage_interval(*counts) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_advantage_lies_within_its_interval(
    members: int, non_members: int, data: st.DataObject
) -> None:
    hits, alarms = (data.draw(st.integers(0, n)) for n in (members, non_members))
    low, high = advantage_interval(hits, members, alarms, non_members)
    advantage = hits / members - alarms / non_members
    assert -1 <= low <= advantage + 1e-12
    assert advantage - 1e-12 <= high <= 1
    assert low < high
    # The other way round is the mirror image.
    mirrored = advantage_interval(alarms, non_members, hits, members)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


def test_more_comparisons_widen_every_interval() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8, 0.7, 0.2])
    truth = np.array([False, False, True, True, True, False])
    intervals: list[Callable[[int], Interval]] = [
        lambda k: clopper_pearson(7, 20, comparisons=k),
        lambda k: wilson(0.35, 20, comparisons=k),
        lambda k: advantage_interval(7, 20, 3, 20, comparisons=k),
        lambda k: auc_interval(scores, truth, comparisons=k),
    ]
    for interval in intervals:
        (low, high), (low_of_8, high_of_8) = interval(1), interval(8)
        assert low_of_8 < low or low == 0
        assert high < high_of_8 or high == 1
    by_hand = clopper_pearson(7, 20, confidence=1 - 0.05 / 8)
    assert clopper_pearson(7, 20, comparisons=8) == pytest.approx(by_hand)


def delong_by_pairs(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """AUC and variance straight from the definition, all pairs at once."""
    a, b = scores[truth][:, None], scores[~truth][None]
    won = (a > b) + 0.5 * (a == b)
    of_members, of_others = won.mean(axis=1), won.mean(axis=0)
    variance = of_members.var(ddof=1) / len(of_members) + of_others.var(ddof=1) / len(of_others)
    return float(won.mean()), float(variance)


@given(st.lists(st.integers(0, 4), min_size=8, max_size=40), st.integers(2, 6))
def test_auc_interval_is_delongs(values: list[int], members: int) -> None:
    scores = np.array(values, dtype=float)
    truth = np.arange(len(scores)) < members
    auc, variance = delong_by_pairs(scores, truth)
    found, fewest = auc_interval(scores, truth), min(members, len(scores) - members)
    # No narrower than three trials per record of the smaller side.
    least = auc * (1 - auc) / (3 * fewest)
    assume(abs(variance - least) > 1e-9 or variance < 1e-12)
    if variance < 1e-12:
        assert found == pytest.approx(wilson(auc, fewest))
    elif variance < least:
        assert found == pytest.approx(wilson(auc, 3 * fewest))
    else:
        half = 1.959963984540054 * variance**0.5 / (auc * (1 - auc))
        ends = [np.log(auc / (1 - auc)) + side * half for side in (-1, 1)]
        assert found == pytest.approx([1 / (1 + np.exp(-end)) for end in ends], abs=1e-9)
    assert 0 <= found[0] <= auc <= found[1] <= 1
    assert found[0] < found[1]


@pytest.mark.parametrize(
    ("factor", "auc"),
    [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)],
    ids=["separated", "reversed", "constant"],
)
def test_zero_variance_gives_no_zero_width(factor: float, auc: float) -> None:
    truth = np.arange(120) < 20
    scores = truth * factor
    low, high = auc_interval(scores, truth)
    assert roc_curve(scores, truth).auc == auc
    assert (low, high) == wilson(auc, 20)
    assert 0.15 < high - low < 0.5
    assert low <= auc <= high


def test_a_single_member_has_an_interval() -> None:
    low, high = auc_interval(np.array([1.0, 0.0, 2.0, 0.5]), np.array([True, False, False, False]))
    assert 0 <= low < 2 / 3 < high <= 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="0 out of 0"):
        clopper_pearson(0, 0)
    with pytest.raises(DataError, match="5 out of 4"):
        advantage_interval(1, 2, 5, 4)
    with pytest.raises(ConfigError, match="confidence is 95"):
        clopper_pearson(1, 2, confidence=95)
    with pytest.raises(ConfigError, match="comparisons is 0"):
        wilson(0.5, 2, comparisons=0)
    with pytest.raises(DataError, match="NaN"):
        auc_interval(np.array([np.nan, 1.0]), np.array([True, False]))
