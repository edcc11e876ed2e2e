from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from selena.content.non_model_sets import NonModelSets
from selena.data.checks import check_records, check_same_features
from selena.errors import DataError
from selena.seeding import torch_generator
from selena.types import AuditSplit, MembershipSets, Records, concatenate
from tests.toys import subjects_of


def records(n: int, *, first_id: int = 0, x: Tensor | None = None) -> Records:
    """Records whose ids count up from `first_id`; features and labels follow the ids."""
    ids = torch.arange(first_id, first_id + n)
    features = torch.stack([ids, -ids], dim=1).float() if x is None else x
    return Records(features, ids % 3, ids)


@pytest.mark.usefixtures("unchecked")
def test_disagreeing_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"x holds 2 records, y has shape \(3,\), ids \(2,\)"):
        Records(torch.zeros(2, 4), torch.zeros(3, dtype=torch.long), torch.arange(2))


def test_shapes_and_types_are_checked_while_tests_run() -> None:
    # If this fails the jaxtyping hook is off, and no shape annotation is being checked.
    with pytest.raises(Exception, match="Type-check error") as caught:
        Records(torch.zeros(2, 4), torch.zeros(2), torch.arange(2))
    assert not isinstance(caught.value, DataError)


@given(st.lists(st.integers(0, 4), max_size=8))
def test_take_by_rows_keeps_records_whole(rows: list[int]) -> None:
    taken = records(5, first_id=10).take(torch.tensor(rows, dtype=torch.long))
    assert taken.ids.tolist() == [10 + row for row in rows]
    assert torch.equal(taken.x[:, 0].long(), taken.ids)
    assert torch.equal(taken.y, taken.ids % 3)


def test_take_by_mask() -> None:
    assert records(4).take(torch.tensor([True, False, False, True])).ids.tolist() == [0, 3]


def test_concatenate_keeps_order_refuses_mixed_types() -> None:
    joined = concatenate(records(2, first_id=5), records(1), records(0))
    assert joined.ids.tolist() == [5, 6, 0]
    with pytest.raises(DataError, match=r"different features.*uint8"):
        concatenate(records(2), records(2, x=torch.zeros(2, 2, dtype=torch.uint8)))
    with pytest.raises(DataError, match="different features"):
        concatenate(records(2), records(2, x=torch.zeros(2, 3)))


@pytest.mark.usefixtures("unchecked")
def test_a_subject_a_record() -> None:
    with pytest.raises(DataError, match=r"x holds 2 records, subjects has shape \(3,\)"):
        replace(records(2), subjects=torch.arange(3))


def test_subjects_go_where_their_records_go() -> None:
    grouped = replace(records(3), subjects=torch.tensor([4, -1, 4]))
    assert subjects_of(grouped.take(torch.tensor([2, 1]))).tolist() == [4, -1]
    assert concatenate(records(2), records(1)).subjects is None
    assert subjects_of(concatenate(records(2), grouped)).tolist() == [-1, -1, 4, -1, 4]


def test_joined_knowledge_puts_members_first() -> None:
    both, truth = MembershipSets(records(2, first_id=7), records(3)).joined()
    assert both.ids.tolist() == [7, 8, 0, 1, 2]
    assert truth.tolist() == [True, True, False, False, False]


def test_training_set_is_known_then_evaluation_members() -> None:
    split = AuditSplit(
        known=MembershipSets(records(2, first_id=4), records(1, first_id=20)),
        evaluation=MembershipSets(records(2, first_id=8), records(1, first_id=30)),
        validation=records(1, first_id=40),
    )
    assert split.train.ids.tolist() == [4, 5, 8, 9]


def test_sizes_name_every_set_there_is() -> None:
    one = MembershipSets(records(3), records(4))
    sizes = AuditSplit(one, MembershipSets(records(2), records(5)), records(1)).sizes()
    assert sizes == {
        "known_members": 3,
        "known_non_members": 4,
        "evaluation_members": 2,
        "evaluation_non_members": 5,
        "validation": 1,
    }
    split = AuditSplit(one, MembershipSets(records(2), records(5)), records(1), one)
    assert split.sizes() == sizes | {
        "canaries_trained_on": 3,
        "canaries_left_out": 4,
    }


def test_non_model_sets() -> None:
    excluded = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.bool)
    sets = NonModelSets.pack(excluded)
    assert (len(sets), sets.k, sets.l) == (2, 3, 2)
    assert [sets.training_rows(i).tolist() for i in range(3)] == [[1], [0], []]
    assert sets.take(torch.tensor([1, 1, 0])).excluded.tolist() == excluded[[1, 1, 0]].tolist()
    assert NonModelSets.pack(torch.zeros(0, 3, dtype=torch.bool)).l == 0
    with pytest.raises(DataError, match="same number L"):
        NonModelSets.pack(torch.tensor([[True, True], [True, False]]))
    with pytest.raises(DataError, match="2 bytes per record do not hold 3 sub-models"):
        NonModelSets(torch.zeros(4, 2, dtype=torch.uint8), 3)


@pytest.mark.parametrize("k", [2, 8, 9, 25, 100])
def test_packed_sets_are_what_was_packed(k: int) -> None:
    excluded = torch.rand(30, k, generator=torch_generator(k)).argsort(dim=1) < k // 2
    sets = NonModelSets.pack(excluded)
    assert sets.bits.shape == (30, -(-k // 8))
    assert sets.l == k // 2
    assert torch.equal(sets.excluded, excluded)
    for i in range(k):
        assert torch.equal(sets.without(i), excluded[:, i])


def test_good_records_pass() -> None:
    check_records(records(5), num_classes=3, what="train")
    check_records(records(2, x=torch.ones(2, 2, dtype=torch.uint8)), num_classes=3, what="train")


def test_no_records() -> None:
    with pytest.raises(DataError, match=r"^train: there are no records\. Give at least one\.$"):
        check_records(records(0), num_classes=3, what="train")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_first_record_that_is_not_finite_is_named(value: float) -> None:
    x = torch.zeros(5, 2, 2)
    x[3, 1, 0] = x[4, 0, 0] = value
    message = r"^train: 2 records hold NaN or infinite .* record 3 \(id 13\)\. Remove or impute"
    with pytest.raises(DataError, match=message):
        check_records(records(5, first_id=10, x=x), num_classes=3, what="train")


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range_name_the_record(label: int) -> None:
    y = torch.tensor([0, 2, label])
    bad = Records(torch.zeros(3, 1), y, torch.arange(3))
    message = rf"^train: label {label} of record 2 .* 3 classes labels run from 0 to 2\.$"
    with pytest.raises(DataError, match=message):
        check_records(bad, num_classes=3, what="train")


def test_same_features() -> None:
    check_same_features(records(1), records(3), what="known")
    with pytest.raises(DataError, match=r"^known: .* \(2,\) torch.float32 against \(3,\)"):
        check_same_features(records(1), records(1, x=torch.zeros(1, 3)), what="known")
    with pytest.raises(DataError, match=r"float32 against \(2,\) torch.uint8"):
        check_same_features(
            records(1), records(1, x=torch.zeros(1, 2, dtype=torch.uint8)), what="known"
        )
