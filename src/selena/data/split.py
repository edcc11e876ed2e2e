"""The split of an audit: training, known to the attacker, scored; one seeded shuffle cut in five.

Protocol of Tang et al. (2022): members come first, then the attacker's reference non-members, and
the rest are test non-members. Half of the members are known, half are for evaluation. The paper
has no validation records; here they are taken from the non-members, so that nothing is selected
on scored records.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from selena.data.subjects import whole_subjects
from selena.errors import ConfigError, DataError
from selena.seeding import numpy_generator
from selena.types import AuditSplit, Dataset, MembershipSets

_FEWEST_MEMBERS = 2  # one known, one to score
_FEWEST_NON_MEMBERS = 3  # reference, validation, test
MOST_VALIDATION = 5_000


@dataclass(frozen=True)
class Partition:
    """Sizes of the parts of a split; the rest of the records are test non-members.

    Attributes:
        members: records that the target model trains on, >= 2; half of them (rounded down) are
            known to the attacker.
        reference: non-members known to the attacker, >= 1.
        validation: non-members for selecting models, >= 1.
    """

    _: KW_ONLY
    members: int
    reference: int
    validation: int

    def __post_init__(self) -> None:
        for name, low in (("members", _FEWEST_MEMBERS), ("reference", 1), ("validation", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"A partition needs {name} >= {low}, not {getattr(self, name)}.")

    @classmethod
    def of(cls, n: int, members: int) -> Partition:
        """Return the default partition of `n` records.

        Reference non-members are 1.5 x members, as in the paper's Purchase100, and at most 40 %
        of the non-members; validation records are members / 2, at most 10 % of the non-members
        and at most 5,000. So at least half of the non-members (up to rounding) are for testing.
        If at most half of the records are members, these are at least as many as the evaluation
        members.

        Raises:
            DataError: if `n` records cannot hold that many members.
            ConfigError: if `members` is below 2.
        """
        rest = n - members
        if rest < _FEWEST_NON_MEMBERS:
            raise DataError(_does_not_fit(n, members, n - _FEWEST_NON_MEMBERS))
        return cls(
            members=members,
            reference=max(1, min(3 * members // 2, 2 * rest // 5)),
            validation=max(1, min(members // 2, rest // 10, MOST_VALIDATION)),
        )


def audit_split(
    dataset: Dataset,
    *,
    n_members: int | None = None,
    partition: Partition | None = None,
    seed: int = 0,
) -> AuditSplit:
    """Split a data set in the five disjoint sets of an audit; together they hold every record.

    The split is by row: two rows of equal content may lie on different sides. Members come from
    the data set's `member_pool`; records of the pool that are not members are non-members.

    Subjects stay whole, so the parts may be a little larger or smaller than their sizes.

    Args:
        dataset: the data set.
        n_members: size of the training set (default: the data set's own).
        partition: all sizes, instead of `n_members` and `Partition.of`.
        seed: root seed, 0 by default; one seed gives one split.

    Raises:
        DataError: if there are too few records, subjects are too large to be split up, or a
            class has no training record.
        ConfigError: if there are fewer than 2 members, or both sizes are given, or a member pool
            and subjects.
    """
    n = len(dataset.records)
    if partition is None:
        partition = Partition.of(n, dataset.n_members if n_members is None else n_members)
    elif n_members is not None:
        raise ConfigError("Give either n_members or a partition, not both.")
    subjects = dataset.records.subjects
    if subjects is not None and dataset.member_pool is not None:
        raise ConfigError("Records with a member pool cannot have subjects. Leave one of them out.")
    non_members = partition.reference + partition.validation + 1
    if partition.members + non_members > n:
        raise DataError(_does_not_fit(n, partition.members, n - non_members))

    half = partition.members // 2
    sizes = [half, partition.members - half, partition.reference, partition.validation]
    sizes.append(n - sum(sizes))
    rows = torch.from_numpy(numpy_generator(seed, "split").permutation(n))
    if dataset.member_pool is not None:
        rows = _members_first(rows, dataset.member_pool, partition.members)
    if subjects is not None:
        rows, sizes = whole_subjects(rows, subjects, sizes)
    known, evaluation, reference, validation, test = map(dataset.records.take, rows.split(sizes))
    _check_classes(dataset, torch.cat([known.y, evaluation.y]))
    return AuditSplit(
        known=MembershipSets(members=known, non_members=reference),
        evaluation=MembershipSets(members=evaluation, non_members=test),
        validation=validation,
    )


def _members_first(
    rows: Int[Tensor, " n"], pool: Bool[Tensor, " n"], members: int
) -> Int[Tensor, " n"]:
    """Move the first `members` rows of the pool to the front; all others keep their order."""
    may_be_member = pool[rows]
    if members > int(pool.sum()):
        raise DataError(
            f"{members:,} members do not fit: this data set draws them from {int(pool.sum()):,} of "
            "its records, those published for training. Take fewer."
        )
    chosen = may_be_member & (may_be_member.cumsum(0) <= members)
    return torch.cat([rows[chosen], rows[~chosen]])


def _does_not_fit(n: int, members: int, most: int) -> str:
    if most < _FEWEST_MEMBERS:
        return (
            f"{n} records are too few for an audit: it needs at least {_FEWEST_MEMBERS} members, "
            "and reference, validation and test non-members."
        )
    return (
        f"{members:,} members do not fit: of {n:,} records at most {most:,} can be members, "
        "because reference, validation and test non-members are needed too."
    )


def _check_classes(dataset: Dataset, labels: Int[Tensor, " n"]) -> None:
    """Raise `DataError` where a class has no training record."""
    empty = torch.nonzero(torch.bincount(labels, minlength=dataset.num_classes) == 0)
    if len(empty):
        first = int(empty[0])
        name = repr(dataset.class_names[first]) if dataset.class_names else first
        in_all = int((dataset.records.y == first).sum())
        raise DataError(
            f"{dataset.name}: class {name} is empty: none of the {len(labels):,} training "
            f"records has this label, of {in_all:,} in the whole set ({len(empty)} such "
            f"class{'es' if len(empty) > 1 else ''}). Take more members, or leave the rare "
            "classes out."
        )
