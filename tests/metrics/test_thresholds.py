from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selena.errors import DataError
from selena.metrics import (
    KnownScores,
    Threshold,
    fit_class_thresholds,
    fit_threshold,
)

CLASSES = 4
VALUES = st.sampled_from([-np.inf, -1.5, -1.0, 0.0, 0.25, 2.0, np.inf])
ROW = st.tuples(VALUES, st.booleans(), st.integers(0, CLASSES - 1))


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and labels, with at least one member and one non-member."""
    rows = draw(st.lists(ROW, max_size=40))
    rows += [(draw(VALUES), True, 0), (draw(VALUES), False, 1)]
    scores, truth, labels = zip(*draw(st.permutations(rows)), strict=True)
    return np.array(scores), np.array(truth), np.array(labels)


def best_by_counting(scores: np.ndarray, truth: np.ndarray) -> float:
    """Every observed score, lowest first, tried on every record."""

    def advantage(t: float) -> Fraction:
        called = scores >= t
        return Fraction(int(called[truth].sum()), int(truth.sum())) - Fraction(
            int(called[~truth].sum()), int((~truth).sum())
        )

    return float(max(sorted(scores), key=advantage))


@given(labelled())
def test_threshold_is_the_lowest_of_the_best(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    scores, truth, _ = case
    assert fit_threshold(scores, truth).values.tolist() == [best_by_counting(scores, truth)]


@given(labelled())
def test_class_thresholds_are_best_per_class(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    scores, truth, labels = case
    fitted = fit_class_thresholds(scores, truth, labels, CLASSES)
    for label in range(CLASSES):
        rows = labels == label
        if not (truth[rows].any() and (~truth[rows]).any()):
            rows = np.ones_like(rows)  # falls back to all classes
        assert fitted.values[label] == best_by_counting(scores[rows], truth[rows])


@given(labelled())
def test_order_and_monotone_maps_change_no_decision(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    scores, truth, labels = case
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    for per_class in (False, True):

        def decide(s: np.ndarray, rows: np.ndarray, per_class: bool = per_class) -> np.ndarray:
            t, y = truth[rows], labels[rows]
            if per_class:
                return fit_class_thresholds(s[rows], t, y, CLASSES).decide(s[rows], y)
            return fit_threshold(s[rows], t).decide(s[rows], y)

        everything = np.arange(len(scores))
        expected = decide(scores, everything)
        assert decide(np.arctan(scores) + 3, everything).tolist() == expected.tolist()
        assert decide(scores, order).tolist() == expected[order].tolist()


def test_worked_example() -> None:
    #          class 0: members 3 4, others 1 2      class 1: members 7 9, others 5 8
    scores = np.array([3.0, 4.0, 1.0, 2.0, 7.0, 9.0, 5.0, 8.0])
    truth = np.array([True, True, False, False] * 2)
    labels = np.array([0] * 4 + [1] * 4)
    assert fit_threshold(scores, truth).values.tolist() == [3.0]
    rule = fit_class_thresholds(scores, truth, labels, 3)
    # In class 1 thresholds 7 and 9 are equally good, and 7 is lower; class 2 is empty.
    assert rule.values.tolist() == [3.0, 7.0, 3.0]
    assert rule.per_class
    assert rule.decide(np.array([2.9, 3.0, 6.9, 7.0]), np.array([0, 2, 1, 1])).tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_cross_fitting_does_not_reward_noise() -> None:
    draw = np.random.default_rng(3)
    n, classes = 400, 100
    truth, labels = np.arange(n) % 2 == 0, np.arange(n) // 4
    noise = draw.normal(size=n)
    rule = fit_class_thresholds(noise, truth, labels, classes)
    called = rule.decide(noise, labels)
    fitted = (called[truth].mean() + (~called[~truth]).mean()) / 2
    crossed = [
        KnownScores(noise, truth, labels, classes).cross_fitted_accuracy(per_class=True, seed=seed)
        for seed in range(8)
    ]
    assert fitted > 0.66
    assert 0.45 < np.mean(crossed) < 0.55


@pytest.mark.parametrize("per_class", [False, True])
def test_cross_fitting_finds_a_leak_and_repeats_itself(per_class: bool) -> None:
    truth, labels = np.arange(200) % 2 == 0, np.arange(200) // 2 % 3
    leak = truth * 1.0 + labels * (10 if per_class else 0)

    def accuracy(seed: int) -> float:
        known = KnownScores(leak, truth, labels, 3)
        return known.cross_fitted_accuracy(per_class=per_class, seed=seed)

    assert accuracy(0) == 1.0
    noisy = leak + np.random.default_rng(0).normal(size=200)
    known = KnownScores(noisy, truth, labels, 3)
    one, again, other = (
        known.cross_fitted_accuracy(per_class=per_class, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again != other


def test_cross_fitting_works_with_two_of_each() -> None:
    truth = np.array([True, False, True, False])
    known = KnownScores(truth * 1.0, truth, np.arange(4), 4)
    accuracy = known.cross_fitted_accuracy(per_class=True, seed=0)
    assert accuracy == 1.0


def test_bad_input_is_refused() -> None:
    scores, truth = np.zeros(3), np.array([True, False, False])
    with pytest.raises(DataError, match="Label 4 of record 2"):
        fit_class_thresholds(scores, truth, np.array([0, 1, 4]), 4)
    with pytest.raises(DataError, match="Label 2 of record 0"):
        Threshold(np.array([0.0, 1.0])).decide(scores, np.array([2, 0, 0]))
    with pytest.raises(DataError, match="known non-members are too"):
        KnownScores(scores, truth, np.zeros(3, dtype=int), 1).cross_fitted_accuracy(
            per_class=False, seed=0
        )
    with pytest.raises(DataError, match="NaN"):
        fit_threshold(np.array([0.0, np.nan, 1.0]), truth)
