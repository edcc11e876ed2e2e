"""Records of equal content: one unit within a side, left out where they are on both."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import selena
from selena.errors import ConfigError
from selena.metrics.roc import roc_curve
from selena.models import AuditWarning, audit
from selena.models.pool import GatheredRecords, gather
from selena.types import AuditSplit
from tests.models.memory import forgetting, sides
from tests.toys import subjects_of

MEMBERS, OTHERS = sides()
CHANCES = [0.6, 0.25, 0.1, 0.05]


def split_of(pool: GatheredRecords) -> AuditSplit:
    x = torch.arange(len(pool))[:, None]
    return pool.split(x, np.zeros(len(pool), dtype=np.int64), known_fraction=0.5, seed=3)


def few_valued(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return records of five features of four values each, and one label."""
    draw = np.random.default_rng(seed)
    return draw.choice(4, (n, 5), p=CHANCES), np.zeros(n, dtype=int)


def repeated(side: tuple[Any, Any], times: int = 10) -> tuple[Any, Any]:
    return np.repeat(side[0], times, axis=0), np.repeat(side[1], times)


def warnings_of(*sides: Any, **settings: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        audit(forgetting(), *sides, attacks=["confidence"], fpr=0.5, **settings)
    assert all(each.category is AuditWarning for each in caught)
    return [str(each.message) for each in caught]


def test_shared_records_are_left_out_of_both_sides() -> None:
    ours, theirs = (
        ([[1], [2], [2], [3], [4], [5]], [0] * 6),
        ([[6], [2], [7], [8], [9], [3]], [0] * 6),
    )
    pool = gather(ours, theirs, scale=False, deduplicate=True)
    assert np.flatnonzero(~pool.used).tolist() == [1, 2, 3, 7, 11]
    split = split_of(pool)
    ids = torch.cat(
        [split.train.ids, split.known.non_members.ids, split.evaluation.non_members.ids]
    )
    assert sorted(ids.tolist()) == [0, 4, 5, 6, 8, 9, 10]  # rows as they were given


@pytest.mark.parametrize(
    ("members", "others"),
    [(800, 200), *(pytest.param(*n, marks=pytest.mark.deep) for n in ((500, 500), (200, 800)))],
)
def test_deduplicated_sides_are_drawn_alike(members: int, others: int) -> None:
    """By the score of the surest harmless model: how common a record is.

    Of 50 audits the mean AUC is 0.5 within four standard errors. Dropped from one side, or from
    two of unequal size without a surplus, it is not.
    """
    aucs = []
    for seed in range(50):
        pool = gather(
            few_valued(members, 2 * seed),
            few_valued(others, 2 * seed + 1),
            scale=False,
            deduplicate=True,
            seed=seed,
        )
        split = split_of(pool)
        scored, truth = split.evaluation.joined()
        _, first = np.unique(pool.contents[scored.ids.numpy()], return_index=True)
        rows = scored.ids.numpy()[first]
        common = np.log(CHANCES)[np.asarray(pool.features.values)[rows]].sum(axis=1)
        aucs.append(roc_curve(common, truth.numpy()[first]).auc)
    error = np.std(aucs) / np.sqrt(len(aucs))
    assert abs(np.mean(aucs) - 0.5) < 4 * error
    assert error < 0.03


def test_a_surplus_is_known_and_never_scored() -> None:
    draw = np.random.default_rng(0).normal(size=(100, 2))
    x = np.concatenate([draw, draw[:1], draw[50:60] + 9])
    y = np.zeros(111, dtype=int)
    pool = gather((x[:100], y[:100]), (x[100:], y[100:]), scale=False, deduplicate=True)
    split = split_of(pool)
    assert len(split.evaluation.members) + len(split.evaluation.non_members) <= 11
    assert 90 < len(split.train) < 100
    assert not set(split.train.ids.tolist()) & {0, 100}


def test_equal_records_are_known_together() -> None:
    pool = gather(repeated(MEMBERS, 3), repeated(OTHERS, 3), scale=False)
    split = split_of(pool)
    for known, scored in (
        (split.known.members, split.evaluation.members),
        (split.known.non_members, split.evaluation.non_members),
    ):
        assert len(known) == len(scored) == 300
        assert not set(subjects_of(known).tolist()) & set(subjects_of(scored).tolist())
        assert len(subjects_of(known).unique()) == 100


def test_equal_records_count_once() -> None:
    with pytest.warns(AuditWarning, match="2,000 members and 2,000 non-members equal another"):
        ten = audit(
            forgetting(), repeated(MEMBERS), repeated(OTHERS), attacks=["confidence"], fpr=0.1
        )
    once = audit(forgetting(), MEMBERS, OTHERS, attacks=["confidence"], fpr=0.1)
    assert {**ten.counts(), "evaluation_records": 0} == {**once.counts(), "evaluation_records": 0}
    assert ten.counts()["evaluation_records"] == 2000


def test_persons_with_equal_rows_are_joined() -> None:
    x, y = np.arange(40.0)[:, None], np.zeros(40, dtype=int)
    persons = np.arange(20) // 2
    ours = x[:20].copy()
    ours[2] = ours[0]
    pool = gather((ours, y[:20], persons), (x[20:], y[20:], 50 + persons), scale=False)
    assert len(set(pool.units[:4])) == 1
    assert len(set(pool.units)) == 19


def test_persons_of_common_rows_stay_apart() -> None:
    x = np.array([0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0])[:, None]
    y, persons = np.zeros(8, dtype=int), np.arange(8) // 2
    theirs = (np.arange(10.0, 18.0)[:, None], y, 10 + persons)
    pool = gather((x, y, persons), theirs, scale=False)
    assert np.unique(pool.units, return_counts=True)[1].tolist() == [2] * 8


def test_deduplication_is_reported() -> None:
    x = np.concatenate([OTHERS[0], MEMBERS[0][:20]])
    y = np.concatenate([OTHERS[1], MEMBERS[1][:20]])
    (said,) = warnings_of(MEMBERS, (x, y), deduplicate=True)
    assert "left 20 members and 20 non-members out" in said
    assert "20 of those are known to the attacker and not scored" in said


def test_a_side_that_was_filtered_is_named() -> None:
    (ours, y), (theirs, _) = few_valued(800, 0), few_valued(800, 1)
    mine = {tuple(row) for row in ours.tolist()}
    rest = np.array([row for row in theirs.tolist() if tuple(row) not in mine])
    wide = [np.pad(each, [(0, 0), (0, 7)]).astype(np.float32) for each in (ours, rest)]
    said = warnings_of((wide[0], y), (wide[1], y[: len(rest)]))
    assert any("common among members" in each and "deduplicate" in each for each in said)


def test_sides_that_repeat_alike_are_not() -> None:
    said = warnings_of(repeated(MEMBERS), repeated(OTHERS))
    assert not any("common among" in each for each in said)


def test_predictions_cannot_be_deduplicated() -> None:
    halves = np.arange(40) % 2 == 0
    table = selena.Predictions(
        np.full((40, 2), 0.5), halves.astype(int), np.arange(40) < 20, halves
    )
    with pytest.raises(ConfigError, match="do not tell which records are equal"):
        audit(table, deduplicate=True)
