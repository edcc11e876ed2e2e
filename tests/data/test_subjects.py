"""Numbers of subjects, where they stand in a split, and what links them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from selena.data.subjects import join_subjects, number_subjects, whole_subjects
from selena.errors import DataError


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        ([7, -1, 3, 7], [2, -1, 1, 2]),
        (["b", "-1", "a", "b"], [2, -1, 1, 2]),
        ([True, False, True], [1, 0, 1]),
        (np.array([2**60 + 1, 2**60, 2**60 + 1]), [1, 0, 1]),
        (np.array([2**64 - 1, 2**64 - 2], dtype=np.uint64), [1, 0]),
        (np.array(["7", 7, -1, "Eve"], dtype=object), [1, 1, -1, 2]),
    ],
)
def test_names_of_every_kind_have_numbers(names: Any, numbers: list[int]) -> None:
    assert number_subjects(np.asarray(names)).tolist() == numbers


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([0.5, 1.5], "integers or strings"),
        ([[1], [2]], r"shape \(2, 1\)"),
        (np.array(["a", None], dtype=object), r"of record 1 is missing \(1 in all\)"),
        (np.array(["a", float("nan")], dtype=object), "of record 1 is missing"),
        ([3, -5], "has the number -5.*-1 for a record"),
    ],
)
def test_what_is_no_name_is_refused(names: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        number_subjects(np.asarray(names))


@given(st.lists(st.integers(-1, 20), min_size=30, max_size=120), st.integers(0, 2**31))
def test_subjects_move_together_and_none_is_lost(subjects: list[int], seed: int) -> None:
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(subjects)))
    mine = torch.tensor(subjects)
    moved, sizes = whole_subjects(rows, mine, [len(subjects)])
    assert sizes == [len(subjects)]
    assert sorted(moved.tolist()) == list(range(len(subjects)))
    found = mine[moved].tolist()
    changes = sum(a != b or a == -1 for a, b in pairwise(found))
    assert changes + 1 == len(set(subjects) - {-1}) + subjects.count(-1)


def test_membership_does_not_depend_on_row_count() -> None:
    """Placed at the first of its rows, a subject of ten would nearly always come early."""
    subjects = torch.tensor([*range(300), *np.repeat(np.arange(300, 360), 10)])
    shares = []
    for seed in range(40):
        rows = torch.from_numpy(np.random.default_rng(seed).permutation(900))
        moved, (first, _) = whole_subjects(rows, subjects, [450, 450])
        shares.append(float((subjects[moved[:first]] >= 300).float().mean()))
    assert np.mean(shares) == pytest.approx(2 / 3, abs=0.04)


def test_one_row_that_all_have_links_all() -> None:
    persons = np.repeat(np.arange(20), 3)
    content = np.arange(60)
    assert len(set(join_subjects(content, persons).tolist())) == 20
    content[::3] = 0
    with pytest.raises(DataError, match=r"60 of 60 records are linked .* Drop rows that many"):
        join_subjects(content, persons)
