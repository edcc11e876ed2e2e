"""The audit pool: kinds of records, what goes along with them, and fair coins."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from selena.data.audit_pool import KINDS, draw_audit_pool, draw_coins
from selena.errors import ConfigError, DataError
from tests.toys import CLASSES, toy_records

POPULATION = toy_records(200, bits=True)
POOL, LEFT = draw_audit_pool(POPULATION, 30, 10, num_classes=CLASSES, seed=1)


def of_kind(kind: str) -> torch.Tensor:
    return torch.nonzero(POOL.kind == KINDS.index(kind)).squeeze(1)


def test_only_ordinary_records_keep_their_label() -> None:
    right = POOL.audited.y == POPULATION.y[POOL.audited.ids]
    assert torch.equal(right, POOL.kind == 0)
    assert [len(of_kind(kind)) for kind in KINDS] == [30, 10, 10, 10, 10]


def test_audited_and_left_records_are_the_population() -> None:
    assert sorted([*POOL.audited.ids.tolist(), *LEFT.ids.tolist()]) == list(range(200))
    assert torch.equal(POOL.audited.x, POPULATION.x[POOL.audited.ids])


def test_companions_have_the_labels_of_their_kind() -> None:
    owners, flips = POOL.audited.take(POOL.owner), (POOL.companions.x - POOL.audited.x[POOL.owner])
    kind = POOL.kind[POOL.owner]
    assert (flips != 0).sum(dim=1).tolist() == [1] * 20 + [0] * 10
    assert kind.tolist() == [2] * 10 + [3] * 10 + [4] * 10
    same = POOL.companions.y == owners.y
    assert same[:10].all()
    assert same[20:].all()
    truth = POOL.companions.y == POPULATION.y[owners.ids]
    assert same[10:20].tolist() == [False, True] * 5
    assert truth[10:20].tolist() == [True, False] * 5
    assert (POOL.companions.ids < 0).all()


def test_companions_go_along_with_their_owner() -> None:
    inside = torch.zeros(len(POOL.audited), dtype=torch.bool)
    chosen = [0, int(of_kind("near copy")[3]), int(of_kind("exact duplicate")[0])]
    inside[chosen] = True
    ids = POOL.training_set(LEFT, inside).ids.tolist()
    mine = POOL.audited.ids[chosen].tolist()
    assert ids == [*LEFT.ids.tolist(), *mine, *(-1 - each for each in mine[1:])]


def test_subjects_are_audited_once_and_left_whole() -> None:
    subjects = torch.arange(200) // 2
    pool, left = draw_audit_pool(replace(POPULATION, subjects=subjects), 20, 5, num_classes=4)
    drawn = subjects[pool.audited.ids].tolist()
    assert len(set(drawn)) == 40
    assert set(drawn).isdisjoint(subjects[left.ids].tolist())
    assert len(left) == 120


def test_coins_are_fair_and_complementary() -> None:
    coins = draw_coins(1000, 8, seed=1)
    assert torch.equal(coins[::2], ~coins[1::2])
    assert abs(float(coins[::2].double().mean()) - 0.5) < 6 * 0.5 / math.sqrt(4000)
    # Not exactly a half, as it is where halves are drawn: coins are independent.
    assert len({int(each.sum()) for each in coins[::2]}) > 1


@pytest.mark.parametrize(("ordinary", "canaries"), [(0, 5), (5, 1)])
def test_impossible_pools_are_refused(ordinary: int, canaries: int) -> None:
    with pytest.raises(ConfigError, match="audit pool"):
        draw_audit_pool(POPULATION, ordinary, canaries, num_classes=CLASSES)


def test_too_large_pools_are_refused() -> None:
    with pytest.raises(DataError, match="200 audited records are too many"):
        draw_audit_pool(POPULATION, 160, 10, num_classes=CLASSES)
    for models in (4, 7):
        with pytest.raises(ConfigError, match="even number from 6"):
            draw_coins(10, models, seed=1)
