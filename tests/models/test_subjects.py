"""Rows of one person: known together, scored as one, and never on both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selena.errors import DataError
from selena.models import AuditWarning, audit, read_records
from selena.models.pool import Given, gather
from selena.types import AuditSplit, Records
from tests.models.memory import forgetting, sides
from tests.toys import subjects_of, toy_records

MEMBERS, OTHERS = sides()


def split_of(members: Given, non_members: Given) -> AuditSplit:
    pool = gather(members, non_members, scale=False)
    x = torch.arange(len(pool))[:, None]
    return pool.split(x, np.zeros(len(pool), dtype=np.int64), known_fraction=0.5, seed=3)


def people(n: int, first: int = 0, each: int = 4) -> tuple[Any, Any, Any]:
    """Return n rows of n / `each` persons, in no order."""
    order = np.random.default_rng(first).permutation(n)
    x = np.random.default_rng(first + 1).normal(size=(n, 3))
    return x, np.zeros(n, dtype=int), np.char.add("person ", (first + order // each).astype(str))


def test_a_person_is_known_or_scored() -> None:
    split = split_of(people(120), people(200, first=1000))
    sides = [split.known.members, split.known.non_members]
    scored = [split.evaluation.members, split.evaluation.non_members]
    for known, other, persons in zip(sides, scored, (30, 50), strict=True):
        assert len(known) == len(other) == 4 * persons // 2
        assert len(subjects_of(other).unique()) == persons // 2
        assert not set(subjects_of(known).tolist()) & set(subjects_of(other).tolist())
        assert torch.equal(other.ids, other.ids.sort().values)
    assert len(split.train) == 120


def test_persons_of_one_row_change_nothing() -> None:
    x, y, _ = people(60)
    alone = split_of((x, y, np.arange(60)), (x + 9, y, np.arange(60, 120)))
    plain = split_of((x, y), (x + 9, y))
    for one, other in zip(
        (alone.known.joined()[0], alone.evaluation.joined()[0]),
        (plain.known.joined()[0], plain.evaluation.joined()[0]),
        strict=True,
    ):
        assert torch.equal(one.ids, other.ids)


def test_records_have_subjects_or_stand_alone() -> None:
    def grouped(records: Records) -> Records:
        return replace(records, subjects=torch.where(records.ids % 2 == 0, records.ids // 4, -1))

    split = split_of(grouped(toy_records(40)), grouped(toy_records(40, seed=1, start=100)))
    assert len(subjects_of(split.train).unique()) == 1 + 10  # -1 stands for all who are alone


def test_rows_given_again_make_no_figure_surer() -> None:
    def repeated(side: tuple[Any, Any], first: int) -> tuple[Any, Any, Any]:
        persons = np.arange(first, first + len(side[0]))
        return tuple(np.repeat(each, 5, axis=0) for each in (*side, persons))  # type: ignore[return-value]

    model = forgetting()
    settings: dict[str, Any] = {"attacks": ["confidence"], "seed": 0, "fpr": 0.005}
    with pytest.warns(AuditWarning, match="100 members and 100 non-members are scored: too few"):
        report = audit(model, repeated(MEMBERS, 0), repeated(OTHERS, 5000), **settings).to_json()
    with pytest.warns(AuditWarning, match="100 members and 100 non-members"):
        once = audit(model, MEMBERS, OTHERS, **settings).to_json()
    assert report["n"]["evaluation_members"] == once["n"]["evaluation_members"]
    assert report["n"]["known_members"] == once["n"]["known_members"] == 100
    assert report["n"]["evaluation_records"] == 1000
    assert "evaluation_records" not in once["n"]
    found = report["attacks"]["confidence"]
    assert found["queries_per_record"] == pytest.approx(1)
    width, narrow = (
        np.diff(each["global"]["auc_interval"]) for each in (found, once["attacks"]["confidence"])
    )
    assert width == pytest.approx(narrow, rel=0.1)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            ["Al", "Eve", "Bo"],
            ["Eve", "Cy", "Al"],
            r"2 subjects have records on both sides: 'Al', 'Eve'",
        ),
        (["Al", "Eve", "Bo"], None, "of both members and non_members, or of neither"),
        ([1, 2, 3], ["4", "3", "5"], "1 subjects .* on both sides: 3"),
        ([1, 2, 3], np.array([4, 3, 5], dtype=np.uint64), "1 subjects .* on both sides: 3"),
        (["Al", "Eve"], ["Cy", "Di", "Fa"], r"members: there are 3 records, .* shape \(2,\)"),
        ([0.5, 1.5, 2.5], ["Cy", "Di", "Fa"], r"members: .*float64.*integers or strings"),
        ([1, 2, 3], np.array(["Cy", None, "Fa"], dtype=object), "non_members: .* 1 is missing"),
    ],
)
def test_wrong_subjects_are_named(ours: Any, theirs: Any, message: str) -> None:
    x, y = np.eye(3), np.zeros(3)
    with pytest.raises(DataError, match=message):
        gather((x, y, ours), (x + 9, y) if theirs is None else (x + 9, y, theirs), scale=False)


def test_rows_may_stand_alone() -> None:
    x, y, _ = people(40)
    split = split_of((x, y, [-1] * 20 + [0] * 20), (x + 9, y, [-1] * 40))
    assert subjects_of(split.train).tolist().count(-1) == 20


def test_one_person_is_too_large_to_share_out() -> None:
    x, y, _ = people(60)
    with pytest.raises(DataError, match="1 members are too few"):
        split_of((x, y, ["Eve"] * 60), (x + 9, y, np.arange(60)))


@pytest.mark.parametrize("name", ["r.csv", "r.npz"])
def test_subjects_from_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("a,who,label\n0.5,Eve,4\n1,Al,2\n")
    arrays = {"x": np.array([[0.5], [1]]), "y": np.array([4, 2]), "who": np.array(["Eve", "Al"])}
    np.savez(tmp_path / "r.npz", allow_pickle=False, **arrays)
    x, y, who = read_records(tmp_path / name, subject_column="who")
    assert (x.tolist(), y.tolist(), who.tolist()) == ([[0.5], [1]], [4, 2], ["Eve", "Al"])
    with pytest.raises(DataError, match="whom"):
        read_records(tmp_path / name, subject_column="whom")
