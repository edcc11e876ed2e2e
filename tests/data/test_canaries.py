"""Canaries: wrong labels, coins, near copies, and all other records as they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from selena.data.canaries import CanaryKind, check_canaries, plant_canaries
from selena.errors import ConfigError, DataError
from selena.types import AuditSplit, MembershipSets, Records
from tests.attacks.planted import CLASSES, Kind, records
from tests.toys import subjects_of

COUNT = 60


def bare(features: Kind = "bits") -> AuditSplit:
    parts = [records(features, 1000 * i, n) for i, n in enumerate((30, 40, 31, 150, 20))]
    return AuditSplit(
        MembershipSets(parts[0], parts[1]), MembershipSets(parts[2], parts[3]), parts[4]
    )


def plant(features: Kind = "bits", **changes: Any) -> AuditSplit:
    settings: dict[str, Any] = {"kind": "mislabelled", "num_classes": CLASSES, "seed": 0}
    count = changes.pop("count", COUNT)
    return plant_canaries(bare(features), count, **(settings | changes))


def canaries_of(split: AuditSplit) -> MembershipSets:
    assert split.canaries is not None
    return split.canaries


def original(of: Records, split: AuditSplit) -> Records:
    ids = split.evaluation.non_members.ids
    return split.evaluation.non_members.take(
        torch.tensor([int((ids == i).nonzero()) for i in of.ids])
    )


def test_canaries_are_non_members_with_wrong_labels() -> None:
    split, before = plant(), bare()
    canaries, truth = canaries_of(split).joined()
    assert len(canaries) == COUNT
    assert 15 < int(truth.sum()) < 45
    was = original(canaries, before)
    assert torch.equal(canaries.x, was.x)
    assert bool((canaries.y != was.y).all())
    assert set(canaries.y.tolist()) == set(range(CLASSES))
    left = split.evaluation.non_members
    assert {*left.ids.tolist(), *canaries.ids.tolist()} == set(
        before.evaluation.non_members.ids.tolist()
    )
    assert len(left) + COUNT == len(before.evaluation.non_members)
    for one, other in (
        (split.known.members, before.known.members),
        (split.known.non_members, before.known.non_members),
        (split.evaluation.members, before.evaluation.members),
        (split.validation, before.validation),
    ):
        assert torch.equal(one.ids, other.ids)


def test_those_inside_are_trained_on_after_all_others() -> None:
    split, before = plant(), bare()
    members = canaries_of(split).members
    assert torch.equal(split.train.ids, torch.cat([before.train.ids, members.ids]))
    assert torch.equal(split.train.y[len(before.train) :], members.y)


def test_seed_settles_everything_and_coins_are_fair() -> None:
    def inside(seed: int) -> Tensor:
        return canaries_of(plant(seed=seed)).members.ids

    assert torch.equal(inside(3), inside(3))
    assert not torch.equal(inside(3).sort().values, inside(4).sort().values)
    total = sum(len(inside(seed)) for seed in range(40))
    assert abs(total / (40 * COUNT) - 0.5) < 0.05


@pytest.mark.parametrize("features", ["bits", "images"])
def test_a_twin_differs_in_one_step_of_one_feature(features: Kind) -> None:
    canaries = canaries_of(plant(features, kind="twins"))
    twins = canaries.extra_members
    assert twins is not None
    assert torch.equal(twins.y, canaries.members.y)
    steps = (twins.x.int() - canaries.members.x.int()).abs().flatten(1)
    assert steps.sum(dim=1).tolist() == [1] * len(twins)
    assert bool((twins.ids < 0).all())


@pytest.mark.parametrize("distance", [1, 3, 8])
def test_a_twin_differs_in_so_many_bits(distance: int) -> None:
    canaries = canaries_of(plant(kind="twins", distance=float(distance)))
    assert canaries.extra_members is not None
    flips = (canaries.extra_members.x != canaries.members.x).sum(dim=1)
    assert flips.tolist() == [distance] * len(flips)


def test_a_twin_of_numbers_is_at_the_distance() -> None:
    canaries = canaries_of(plant("numbers", kind="twins", distance=2.5))
    assert canaries.extra_members is not None
    std = bare("numbers").evaluation.non_members.x.std(dim=0)
    gap = ((canaries.extra_members.x - canaries.members.x) / std).norm(dim=1)
    assert gap.tolist() == pytest.approx([2.5] * len(gap), rel=1e-4)


def test_a_twin_of_an_image_is_shifted() -> None:
    canaries = canaries_of(plant("images", kind="grouped-twins", distance=2.0))
    assert canaries.extra_members is not None
    was, now = canaries.members.x, canaries.extra_members.x
    right = (now[..., 2:] == was[..., :-2]).flatten(1).all(dim=1)
    left = (now[..., :-2] == was[..., 2:]).flatten(1).all(dim=1)
    assert bool((right | left).all())
    assert bool(right.any())
    assert bool(left.any())


@pytest.mark.parametrize(
    ("features", "distance", "message"),
    [("bits", 1.5, "whole number"), ("bits", 1e6, "counts bits"), ("images", 99.0, "pixels")],
)
def test_impossible_distance_is_an_error(features: Kind, distance: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plant(features, kind="twins", distance=distance)


@pytest.mark.parametrize(("kind", "distance"), [("mislabelled", 1.0), ("twins", 0.0)])
def test_distance_is_checked_with_the_kind(kind: str, distance: float) -> None:
    with pytest.raises(ConfigError, match="canary_distance"):
        check_canaries(60, kind, distance)


def test_a_twin_of_numbers_is_near() -> None:
    canaries = canaries_of(plant("numbers", kind="twins"))
    twins = canaries.extra_members
    assert twins is not None
    gap = (twins.x - canaries.members.x).norm(dim=1)
    assert float(gap.min()) > 0
    assert float(gap.max()) < 0.05 * float(torch.cdist(canaries.members.x, twins.x).median())


def test_twins_are_trained_on_and_not_scored() -> None:
    split = plant(kind="twins")
    canaries = canaries_of(split)
    assert canaries.extra_members is not None
    assert len(split.train) == len(bare().train) + 2 * len(canaries.members)
    assert len(canaries.joined()[0]) == COUNT
    ids = split.train.ids
    assert len(ids.unique()) == len(ids)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"count": 19}, ConfigError, "at least 20"),
        ({"count": 150}, DataError, "150 test non-members"),
        ({"num_classes": 1}, ConfigError, "there is only one class"),
    ],
)
def test_what_cannot_be_planted_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plant(**changes)


def test_none_are_planted_twice() -> None:
    with pytest.raises(ConfigError, match="canaries already"):
        plant_canaries(plant(), 20, "mislabelled", num_classes=CLASSES, seed=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_twins_keep_the_type_of_features(dtype: torch.dtype) -> None:
    split = bare("numbers")
    known, evaluation = (
        MembershipSets(*(replace(r, x=r.x.to(dtype)) for r in (side.members, side.non_members)))
        for side in (split.known, split.evaluation)
    )
    typed = AuditSplit(known, evaluation, split.validation)
    planted = plant_canaries(typed, COUNT, "twins", num_classes=CLASSES, seed=0)
    assert planted.train.x.dtype == dtype


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigError, match="'mislabeled' is unknown; use one of mislabelled, twins"):
        check_canaries(20, "mislabeled")
    check_canaries(0, "mislabelled")


def test_grouped_twins_share_subjects() -> None:
    split, unknown = plant(kind="grouped-twins"), plant(kind="twins")
    canaries, twins = canaries_of(split), canaries_of(split).extra_members
    assert twins is not None
    assert torch.equal(subjects_of(canaries.members), subjects_of(twins))
    assert len(subjects_of(canaries.members).unique()) == len(twins)
    assert set(subjects_of(split.train).tolist()) == {-1, *subjects_of(twins).tolist()}
    assert torch.equal(split.train.x, unknown.train.x)
    assert torch.equal(split.train.y, unknown.train.y)
    assert unknown.train.subjects is None


def test_twins_among_records_of_subjects() -> None:
    before = bare()
    members, others = (
        replace(each, subjects=each.ids)
        for each in (before.known.members, before.evaluation.non_members)
    )
    grouped = replace(
        before,
        known=replace(before.known, members=members),
        evaluation=replace(before.evaluation, non_members=others),
    )
    for alone in (True, False):
        kind: CanaryKind = "twins" if alone else "grouped-twins"
        split = plant_canaries(grouped, COUNT, kind, num_classes=CLASSES, seed=0)
        twins = canaries_of(split).extra_members
        assert twins is not None
        subjects = subjects_of(split.train)[-len(twins) :]
        if alone:
            assert bool((subjects == -1).all())
        else:
            assert torch.equal(subjects, subjects_of(canaries_of(split).members))
            assert not set(subjects.tolist()) & set(members.ids.tolist())
