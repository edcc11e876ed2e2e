from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from selena.errors import ConfigError, DataError
from selena.metrics import loss_true_negative_rate, precision_and_recall, precision_at_k

FOUND = np.array([True, False, True, False])


def test_precision_and_recall_count_the_accused() -> None:
    result = precision_and_recall(np.array([True, True, False, False]), FOUND)
    assert (result.precision, result.recall, result.accused) == (0.5, 0.5, 2)
    low, high = result.precision_interval
    assert low < 0.5 < high
    nobody = precision_and_recall(np.zeros(4, dtype=bool), FOUND)
    assert isnan(nobody.precision)
    assert nobody.precision_interval == (0.0, 1.0)


def test_precision_at_k_looks_at_the_highest() -> None:
    scores = np.array([4.0, 1.0, 3.0, 2.0])
    assert [precision_at_k(scores, FOUND, k)[0] for k in (1, 2, 3, 4)] == [1, 1, 2 / 3, 0.5]
    with pytest.raises(ConfigError, match="k is 5"):
        precision_at_k(scores, FOUND, 5)


@pytest.mark.usefixtures("unchecked")
def test_lengths_that_disagree_are_data_errors() -> None:
    with pytest.raises(DataError, match="one decision per record"):
        precision_and_recall(FOUND[:2], FOUND)
    with pytest.raises(DataError, match="one mark per record"):
        precision_at_k(np.array([4.0, 1.0, 3.0, 2.0]), FOUND[:3], 1)


def test_precision_at_k_of_ties_is_that_of_chance() -> None:
    assert precision_at_k(np.zeros(4), FOUND, 2)[0] == 0.5
    assert precision_at_k(np.array([9.0, 0.0, 0.0, 0.0]), FOUND, 2)[0] == pytest.approx(2 / 3)


def test_loss_tail_of_a_model_that_memorizes() -> None:
    members, others = np.full(1000, 0.01), np.linspace(0, 5, 1000)
    assert loss_true_negative_rate(members, others, fnr=0.01).tpr > 0.99
    same = loss_true_negative_rate(others, others + 1e-9, fnr=0.01)
    assert same.tpr == pytest.approx(0.01, abs=0.002)
    assert same.interval[0] < same.tpr < same.interval[1]


def test_loss_tail_lets_few_members_be_missed() -> None:
    members, others = np.array([0.0] * 99 + [9.0]), np.full(100, 5.0)
    assert loss_true_negative_rate(members, others, fnr=0.01).tpr == 1
    assert loss_true_negative_rate(members, others, fnr=0.005).tpr == 0
