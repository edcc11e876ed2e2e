from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from selena.errors import ConfigError, DataError
from selena.metrics import roc_curve, tpr_at_fpr

# Few distinct values, the infinite ones among them: heavy ties.
VALUES = st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0, np.inf])


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth, with at least one member and one non-member."""
    members = draw(st.lists(VALUES, min_size=1, max_size=25))
    others = draw(st.lists(VALUES, min_size=1, max_size=25))
    order = draw(st.permutations(range(len(members) + len(others))))
    truth = np.arange(len(order)) < len(members)
    return np.array(members + others)[order], truth[order]


def pairs_won(scores: np.ndarray, truth: np.ndarray) -> float:
    """The AUC by comparing every member with every non-member."""
    a, b = scores[truth][:, None], scores[~truth][None]
    return float(((a > b) + 0.5 * (a == b)).mean())


@given(scored())
def test_auc_is_the_share_of_pairs_won(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    assert roc_curve(scores, truth).auc == pytest.approx(pairs_won(scores, truth), abs=1e-12)


@given(scored())
def test_curve_counts_what_each_threshold_admits(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    curve = roc_curve(scores, truth)
    assert curve.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    assert curve.true_positives.tolist() == [0] + [
        int((scores[truth] >= t).sum()) for t in curve.thresholds
    ]
    assert curve.false_positives.tolist() == [0] + [
        int((scores[~truth] >= t).sum()) for t in curve.thresholds
    ]


@given(scored(), st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0]))
def test_tpr_at_fpr_is_the_best_within(case: tuple[np.ndarray, np.ndarray], fpr: float) -> None:
    scores, truth = case
    point = tpr_at_fpr(roc_curve(scores, truth), fpr)
    allowed = [t for t in set(scores) if (scores[~truth] >= t).mean() <= fpr]
    assert point.tpr == max([0.0] + [float((scores[truth] >= t).mean()) for t in allowed])
    assert point.realized_fpr <= fpr
    assert point.realized_fpr * (~truth).sum() <= point.allowed_false_positives
    assert point.interval[0] <= point.tpr <= point.interval[1]


@given(scored())
def test_order_and_rising_transforms_change_nothing(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, truth = case
    curve = roc_curve(scores, truth)
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    for other in (roc_curve(scores[order], truth[order]), roc_curve(np.arctan(scores) * 7, truth)):
        assert other.true_positives.tolist() == curve.true_positives.tolist()
        assert other.false_positives.tolist() == curve.false_positives.tolist()


@given(scored())
def test_flipped_sign_gives_the_complement(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    assert roc_curve(-scores, truth).auc == pytest.approx(
        1 - roc_curve(scores, truth).auc, abs=1e-12
    )


def test_agrees_with_sklearn_on_many_ties() -> None:
    draw = np.random.default_rng(0)
    truth = draw.random(3000) < 0.4
    scores = np.round(draw.normal(truth * 0.7, 1), 1)
    curve = roc_curve(scores, truth)
    fpr, tpr, _ = sklearn_roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
    assert curve.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_score_of_two_values_has_three_corners() -> None:
    scores = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0])
    truth = np.array([True] * 4 + [False] * 6)
    curve = roc_curve(scores, truth)
    assert curve.tpr.tolist() == [0, 0.75, 1]
    assert curve.fpr.tolist() == [0, 1 / 6, 1]
    assert curve.auc == pytest.approx((0.75 + 5 / 6) / 2)
    # A threshold between the two values does not exist: below 1/6 nothing is reached.
    assert tpr_at_fpr(curve, 0.16).tpr == 0
    assert tpr_at_fpr(curve, 0.17).tpr == 0.75


def test_low_fpr_with_few_non_members_is_unresolved() -> None:
    truth = np.arange(1500) < 1000  # 500 non-members
    scores = np.where(np.arange(1500) < 40, 2.0, 0.0) + (np.arange(1500) == 1200)
    point = tpr_at_fpr(roc_curve(scores, truth), 0.001)
    assert not point.resolved
    assert point.allowed_false_positives == 0
    assert point.needed_non_members == 10_000
    assert point.tpr == 0.04
    assert point.realized_fpr == 0
    # The interval exists and covers finding nobody.
    assert point.interval[0] == 0
    assert point.interval[1] > 0.04
    # Nine allowed false positives are too few to say what FPR a threshold has; ten are enough.
    assert not tpr_at_fpr(roc_curve(scores, truth), 0.018).resolved
    assert tpr_at_fpr(roc_curve(scores, truth), 0.02).resolved


def test_a_fpr_of_one_needs_no_more_records() -> None:
    point = tpr_at_fpr(roc_curve(np.arange(6.0), np.arange(6) < 3), 1.0)
    assert (point.tpr, point.resolved) == (1.0, True)
    assert not tpr_at_fpr(roc_curve(np.arange(6.0), np.arange(6) < 3), 0.9).resolved


def test_an_interval_from_zero_begins_at_zero() -> None:
    """Not at a rounding error above: attacks are compared by lower ends."""
    truth = np.arange(40) < 20
    scores = np.concatenate([np.repeat([0, 1, 2], [5, 8, 7]), np.repeat([0, 1], [16, 4])])
    for confidence in (0.6827, 0.9, 0.95, 0.99):
        for fpr in (0.001, 0.01):
            found = tpr_at_fpr(roc_curve(scores, truth), fpr, confidence=confidence).interval
            assert found[0] == 0


def test_allowed_false_positives_use_decimals() -> None:
    truth = np.arange(101) < 1
    curve = roc_curve(np.zeros(101), truth)
    assert 0.29 * 100 < 29  # in binary
    assert tpr_at_fpr(curve, 0.29).allowed_false_positives == 29


@pytest.mark.parametrize("points", [2, 3, 50, 500])
@pytest.mark.parametrize("n", [4, 400, 20_000])
def test_thinned_curve_keeps_ends_and_exact_corners(points: int, n: int) -> None:
    draw = np.random.default_rng(n)
    truth = np.arange(n) % 2 == 0
    curve = roc_curve(draw.normal(truth * 1.0, 1), truth)
    fpr, tpr = curve.thinned(points)
    assert len(fpr) <= max(points, 2)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    corners = set(zip(curve.fpr, curve.tpr, strict=True))
    assert corners.issuperset(zip(fpr, tpr, strict=True))
    if points == 500:
        assert np.interp(0.5, fpr, tpr) == pytest.approx(
            np.interp(0.5, curve.fpr, curve.tpr), abs=0.01
        )
        # On a logarithmic axis too: the lowest FPRs are all there.
        assert set(curve.fpr[curve.fpr <= 5 / n]) <= set(fpr)


def test_bad_scores_are_refused() -> None:
    truth = np.array([True, False, True])
    with pytest.raises(DataError, match="1 scores are NaN, the first is score 2"):
        roc_curve(np.array([0.0, 1.0, np.nan]), truth)
    with pytest.raises(DataError, match="3 members and 0 non-members"):
        roc_curve(np.zeros(3), np.ones(3, dtype=bool))
    with pytest.raises(DataError, match="0 members and 0 non-members"):
        roc_curve(np.zeros(0), np.zeros(0, dtype=bool))
    for fpr in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="must lie in"):
            tpr_at_fpr(roc_curve(np.zeros(3), truth), fpr)
    with pytest.raises(ConfigError, match="two ends"):
        roc_curve(np.zeros(3), truth).thinned(1)


@pytest.mark.usefixtures("unchecked")
def test_unlike_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="Shapes disagree"):
        roc_curve(np.zeros(4), np.array([True, False]))
