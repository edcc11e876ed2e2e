from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import selena
from selena.attacks.attribute import attribute_scores
from selena.errors import ConfigError, DataError
from selena.types import Records

N, RNG = 200, np.random.default_rng(1)
HIDDEN = 2


def table(start: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of an id and a fair coin of three sides that nothing else tells."""
    rng = np.random.default_rng(start)
    x = np.column_stack([np.arange(start, start + N), rng.normal(size=N), rng.integers(0, 3, N)])
    return x.astype(float), rng.integers(0, 2, N)


MEMBERS, OTHERS = table(0), table(1000)


def memorizing(x: np.ndarray) -> np.ndarray:
    """Sure of the label of a member as it is, sure of the other if it is changed."""
    rows = {tuple(row): int(label) for row, label in zip(*MEMBERS, strict=True)}
    labels = {row[0]: label for row, label in rows.items()}
    first = [
        0.5 if row[0] not in labels else abs((labels[row[0]] == 0) - (tuple(row) not in rows))
        for row in x
    ]
    p = np.clip(np.array(first, dtype=float), 1e-4, 1 - 1e-4)
    return np.column_stack([p, 1 - p])


def test_a_memorizing_model_betrays_the_attribute() -> None:
    report = selena.infer_attribute(memorizing, MEMBERS, OTHERS, HIDDEN)
    assert report.members.value == 1
    assert report.members.of == N
    assert report.non_members.of == N // 2
    assert report.membership_leaks
    assert report.beats_baselines
    # A third by chance; six standard deviations around.
    for share in (report.non_members, report.most_frequent, report.without_model):
        assert abs(share.value - 1 / 3) < 6 * np.sqrt(2 / 9 / share.of)
    assert "advantage on members" in str(report)


def test_a_model_that_ignores_it_betrays_nothing() -> None:
    def model(x: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-x[:, 1]))
        return np.column_stack([p, 1 - p])

    report = selena.infer_attribute(model, MEMBERS, OTHERS, HIDDEN)
    assert abs(report.advantage) < 6 * np.sqrt(2 / 9 * (1 / N + 2 / N))
    assert not report.beats_baselines


def test_baseline_knows_what_needs_no_model() -> None:
    def implied(start: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = table(start)
        x[:, HIDDEN] = x[:, 1] > 0
        return x, y

    def model(x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 2), 0.5)

    report = selena.infer_attribute(model, implied(0), implied(1000), HIDDEN)
    assert report.without_model.value > 0.95
    assert not report.beats_baselines


def test_one_hot_columns_change_together() -> None:
    def hot(given: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        x, y = given
        return np.column_stack([x[:, :2], np.eye(3)[x[:, HIDDEN].astype(int)]]), y

    def model(x: np.ndarray) -> np.ndarray:
        assert (x[:, 2:].sum(axis=1) == 1).all()
        return memorizing(np.column_stack([x[:, :2], x[:, 2:].argmax(axis=1)]))

    report = selena.infer_attribute(model, hot(MEMBERS), hot(OTHERS), (2, 3, 4))
    assert report.values == 3
    assert report.members.value == 1


def test_scores_do_not_look_at_the_hidden_value() -> None:
    class Linear:
        num_classes = 2

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.sum(dim=1), 0 * x[:, 0]], dim=1)

    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 1] = 9
    y, ids, values = torch.tensor([0, 1, 0, 1, 1]), torch.arange(5), torch.tensor([[0.0], [4.0]])
    scores = [
        attribute_scores(Linear(), Records(each, y, ids), (1,), values) for each in (x, changed)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0].argmax(axis=1) == [1, 0, 1, 0, 0]).all()


@pytest.mark.parametrize(
    ("attribute", "more", "error", "message"),
    [
        (9, {}, DataError, "columns of a table"),
        ((), {}, DataError, "columns of a table"),
        (1, {}, DataError, "For a continuous attribute pass values="),
        (2, {"values": [[1, 2], [3, 4]]}, ConfigError, "one row per value"),
        (2, {"output": "odds"}, ConfigError, "output='odds'"),
    ],
)
def test_bad_attributes_are_errors(
    attribute: Any, more: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        selena.infer_attribute(memorizing, MEMBERS, OTHERS, attribute, **more)


def test_a_continuous_attribute_is_the_nearest_value() -> None:
    report = selena.infer_attribute(memorizing, MEMBERS, OTHERS, 1, values=[-1.0, 1.0])
    assert report.values == 2
    assert 0.2 < report.most_frequent.value < 0.8
