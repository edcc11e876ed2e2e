from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selena.data.split import Partition, audit_split
from selena.errors import ConfigError, DataError
from selena.types import AuditSplit, Dataset, Records
from tests.toys import subjects_of, toy_dataset


def dataset(n: int, classes: int = 1, members: int = 2) -> Dataset:
    x = torch.arange(n, dtype=torch.float32)[:, None]
    return toy_dataset(x, torch.arange(n) % classes, num_classes=classes, n_members=members)


def parts(split: AuditSplit) -> list[Records]:
    return [
        split.known.members,
        split.evaluation.members,
        split.known.non_members,
        split.validation,
        split.evaluation.non_members,
    ]


def rows(split: AuditSplit) -> list[list[int]]:
    return [part.ids.tolist() for part in parts(split)]


sizes = st.integers(5, 400).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(2, n - 3), st.integers(0, 2**40))
)


@given(sizes)
def test_five_disjoint_sets_hold_every_record_once(case: tuple[int, int, int]) -> None:
    n, members, seed = case
    split = audit_split(dataset(n), n_members=members, seed=seed)
    assert sorted(chain(*rows(split))) == list(range(n))
    assert all(len(part) > 0 for part in parts(split))
    assert len(split.train) == members
    known, evaluation = len(split.known.members), len(split.evaluation.members)
    assert evaluation - known in {0, 1}
    for part in parts(split):
        assert torch.equal(part.x[:, 0].long(), part.ids)


@given(sizes)
def test_one_seed_gives_one_split(case: tuple[int, int, int]) -> None:
    n, members, seed = case
    once = audit_split(dataset(n), n_members=members, seed=seed)
    again = audit_split(dataset(n), n_members=members, seed=seed)
    assert rows(once) == rows(again)


def test_another_seed_gives_another_split() -> None:
    one, two = (audit_split(dataset(200), n_members=50, seed=seed) for seed in (0, 1))
    assert rows(one) != rows(two)


@given(sizes)
def test_default_sizes(case: tuple[int, int, int]) -> None:
    n, members, _ = case
    partition = Partition.of(n, members)
    rest = n - members
    assert partition.reference <= max(1, min(1.5 * members, 0.4 * rest))
    assert partition.validation <= max(1, min(members / 2, 0.1 * rest, 5_000))
    test = rest - partition.reference - partition.validation
    assert test >= 1
    if members <= rest and rest >= 10:
        assert test >= members - members // 2


def test_sizes_of_the_papers_purchase100() -> None:
    n = 197_324
    partition = Partition.of(n, 19_732)
    assert partition == Partition(members=19_732, reference=29_598, validation=5_000)


def test_members_default_to_the_data_sets() -> None:
    assert len(audit_split(dataset(50, members=20), seed=0).train) == 20


def test_given_partition_is_obeyed() -> None:
    split = audit_split(
        dataset(50), partition=Partition(members=9, reference=10, validation=11), seed=3
    )
    assert [len(part) for part in parts(split)] == [4, 5, 10, 11, 20]


def test_partition_leaves_at_least_one_test_record() -> None:
    audit_split(dataset(10), partition=Partition(members=4, reference=3, validation=2), seed=0)
    with pytest.raises(DataError, match=r"4 members do not fit: of 9 records at most 3"):
        audit_split(dataset(9), partition=Partition(members=4, reference=3, validation=2), seed=0)


def test_too_many_members_name_the_most_that_fit() -> None:
    with pytest.raises(DataError, match="99 members do not fit: of 100 records at most 97"):
        audit_split(dataset(100), n_members=99, seed=0)
    audit_split(dataset(100), n_members=97, seed=0)


def test_too_few_records() -> None:
    with pytest.raises(DataError, match="4 records are too few"):
        audit_split(dataset(4), n_members=2, seed=0)


@pytest.mark.parametrize("members", [1, 0, -5])
def test_too_few_members(members: int) -> None:
    with pytest.raises(ConfigError, match=f"members >= 2, not {members}"):
        audit_split(dataset(100), n_members=members, seed=0)


@pytest.mark.parametrize("wrong", [(1, 1, 1), (2, 0, 1), (2, 1, 0)])
def test_partition_checks_its_sizes(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="A partition needs"):
        Partition(members=wrong[0], reference=wrong[1], validation=wrong[2])


def test_both_sizes_are_too_much() -> None:
    with pytest.raises(ConfigError, match="not both"):
        audit_split(
            dataset(50),
            n_members=5,
            partition=Partition(members=9, reference=10, validation=11),
            seed=3,
        )


def test_class_without_training_record_is_named() -> None:
    one_class_short = dataset(100, classes=4)
    one_class_short.records.y[one_class_short.records.y == 2] = 1
    with pytest.raises(DataError, match=r"class 2 is empty: none of the 50 .* of 0 in the whole"):
        audit_split(one_class_short, n_members=50, seed=0)


def test_rare_class_that_missed_training_is_named() -> None:
    rare = replace(dataset(200, members=20), name="rare", num_classes=2)
    row = audit_split(replace(rare, num_classes=1), seed=0).validation.ids[0]
    rare.records.y[row] = 1
    named = replace(rare, class_names=("often", "rarely"))
    with pytest.raises(DataError, match=r"rare: class 'rarely' is empty"):
        audit_split(named, n_members=3, seed=0)
    with pytest.raises(DataError, match=r"rare: class 1 is empty: .* of 1 in the whole set"):
        audit_split(rare, seed=0)


@given(sizes, st.data())
def test_members_come_from_the_pool(case: tuple[int, int, int], data: st.DataObject) -> None:
    n, members, seed = case
    rows_in_pool = data.draw(st.sets(st.integers(0, n - 1), min_size=members))
    pool = torch.isin(torch.arange(n), torch.tensor(sorted(rows_in_pool)))
    split = audit_split(replace(dataset(n), member_pool=pool), n_members=members, seed=seed)
    assert set(split.train.ids.tolist()) <= rows_in_pool
    assert sorted(chain(*rows(split))) == list(range(n))
    assert len(split.train) == members


def test_a_pool_of_all_records_changes_nothing() -> None:
    whole = replace(dataset(50), member_pool=torch.ones(50, dtype=torch.bool))
    assert rows(audit_split(whole, n_members=20, seed=1)) == rows(
        audit_split(dataset(50), n_members=20, seed=1)
    )


def test_more_members_than_the_pool_holds() -> None:
    small = replace(dataset(50), member_pool=torch.arange(50) < 10)
    with pytest.raises(DataError, match=r"11 members do not fit: .* draws them from 10 of"):
        audit_split(small, n_members=11, seed=0)


def grouped(n: int, subjects: list[int]) -> Dataset:
    plain = dataset(n)
    return replace(plain, records=replace(plain.records, subjects=torch.tensor(subjects)))


@given(
    st.lists(st.integers(-1, 30), min_size=60, max_size=200),
    st.integers(2, 30),
    st.integers(0, 2**40),
)
def test_no_subject_is_on_two_sides(subjects: list[int], members: int, seed: int) -> None:
    try:
        split = audit_split(grouped(len(subjects), subjects), n_members=members, seed=seed)
    except DataError as error:
        assert "too large" in str(error)  # noqa: PT017 - both ends are right, with subjects like these
        return
    found = [set(subjects_of(side).tolist()) - {-1} for side in parts(split)]
    assert sum(map(len, found)) == len(set(subjects) - {-1})
    assert sorted(chain(*rows(split))) == list(range(len(subjects)))
    assert all(len(part) > 0 for part in parts(split))
    assert len(split.train) >= members


def test_subjects_of_one_change_no_split() -> None:
    alone, plain = grouped(90, list(range(90))), dataset(90)
    one, other = (audit_split(each, n_members=30, seed=5) for each in (alone, plain))
    assert rows(one) == rows(other)


def test_subjects_too_large_to_share_out() -> None:
    with pytest.raises(DataError, match=r"of 3 subjects of records, the largest with 40,"):
        audit_split(grouped(90, [0] * 40 + [1] * 40 + [2] * 10), n_members=30, seed=0)


def test_a_member_pool_has_no_subjects() -> None:
    both = replace(grouped(90, [0] * 90), member_pool=torch.ones(90, dtype=torch.bool))
    with pytest.raises(ConfigError, match="member pool cannot have subjects"):
        audit_split(both, n_members=30, seed=0)
