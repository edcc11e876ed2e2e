"""Members and non-members in one pool: checked, labels numbered, and cut by what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from selena.anymodel.containers import Container, contain
from selena.data.groups import number_groups, whole_groups
from selena.errors import ConfigError, DataError
from selena.seeding import numpy_generator
from selena.training.batches import as_input
from selena.types import AuditSplit, Knowledge, Records

Given = tuple[Any, Any] | tuple[Any, Any, Any] | Records
"""Records as a user has them: features and labels, and maybe groups."""

_SHOWN = 10
# Thresholds are cross-fitted on halves of the known records.
_FEWEST_KNOWN = 2


@dataclass(frozen=True, eq=False)
class Pool:
    """Members and then non-members.

    Attributes:
        features: n records in the container they came in.
        labels: as they were given.
        members: how many of the records are members.
        groups: number of each record's group, or None where all stand alone.
    """

    features: Container
    labels: Shaped[np.ndarray, " n"]
    members: int
    groups: Int64[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def member(self) -> Bool[np.ndarray, " n"]:
        """True for members."""
        return np.arange(len(self)) < self.members

    def name(self, row: int) -> str:
        """Return what messages call a record: "member 3"."""
        side, first = ("member", 0) if row < self.members else ("non-member", self.members)
        return f"{side} {row - first}"

    def check_finite(self, *, missing: bool) -> None:
        """Raise `DataError` where a feature is infinite or, unless `missing`, NaN."""
        try:
            numbers = self.features.numbers()
        except DataError:
            return  # strings and sparse matrices: whoever takes them looks at them
        if numbers.dtype.kind != "f":
            return
        rows = numbers.reshape(len(numbers), -1)
        bad = np.isinf(rows) if missing else ~np.isfinite(rows)
        broken = np.flatnonzero(bad.any(axis=1))
        if len(broken):
            raise DataError(
                f"{len(broken)} records hold {'' if missing else 'NaN or '}infinite features, the "
                f"first is {self.name(int(broken[0]))}. Remove or impute them."
            )

    def classes(
        self, names: Sequence[Any] | None, num_classes: int, what: str
    ) -> Int64[np.ndarray, " n"]:
        """Return the labels as classes in [0, C).

        Args:
            names: what the model's classes are called, in the order of its columns; without
                them labels are numbers of columns.
            num_classes: C.
            what: what messages call the model.

        Raises:
            DataError: a label that is no class of the model.
        """
        columns: dict[Any, int] = {
            name: i for i, name in enumerate(range(num_classes) if names is None else names)
        }
        classes = np.array([columns.get(label, -1) for label in self.labels.tolist()], np.int64)
        wrong = np.flatnonzero(classes < 0)
        if len(wrong):
            raise DataError(
                f"{self.name(int(wrong[0]))} has the label {self.labels.tolist()[wrong[0]]!r} "
                f"({len(wrong)} such records), which is no class of {what}: it has {num_classes}, "
                f"{_listed(list(columns))}. Give labels as the model knows them."
            )
        return classes

    def split(
        self,
        x: Shaped[Tensor, "n *features"],
        classes: Int64[np.ndarray, " n"],
        *,
        known_fraction: float,
        seed: int,
    ) -> AuditSplit:
        """Return who knows what, of records `x` and `classes` that stand for the pool's.

        Groups are known as a whole or not at all.

        Raises:
            DataError: too few members or non-members to know some and score others, or groups too
                large for that.
            ConfigError: a share outside (0, 1).
        """
        if not 0 < known_fraction < 1:
            raise ConfigError(f"known_fraction is {known_fraction}; it is a share between 0 and 1.")
        groups = None if self.groups is None else torch.from_numpy(self.groups)
        every = Records(x, torch.from_numpy(classes), torch.arange(len(self)), groups)
        known, scored = [], []
        for side, first, n in (
            ("members", 0, self.members),
            ("non-members", self.members, len(self) - self.members),
        ):
            if n <= _FEWEST_KNOWN:
                raise DataError(
                    f"{n} {side} are too few: at least {_FEWEST_KNOWN} are known to the attacker "
                    "and others are scored. Give more."
                )
            size = min(max(round(known_fraction * n), _FEWEST_KNOWN), n - 1)
            draw = numpy_generator(seed, "anymodel", "known", side).permutation(n)
            rows, sizes = torch.from_numpy(first + draw), [size, n - size]
            if groups is not None:
                rows, sizes = whole_groups(rows, groups, sizes)
            mine, others = rows.split(sizes)
            known.append(every.take(mine.sort().values))
            scored.append(every.take(others.sort().values))
        nobody = every.take(torch.arange(0))
        return AuditSplit(Knowledge(*known), Knowledge(*scored), nobody)


def gather(members: Given, non_members: Given, *, scale: bool) -> Pool:
    """Return members and non-members as one pool of records that differ.

    Args:
        members: records in the training set, `(x, y)` or `Records`.
        non_members: others, in the same kind of container.
        scale: whether `Records` are given as networks take them (pixels in [0, 1]), and not as
            they are kept.

    Raises:
        DataError: no such pair, no records, shapes or kinds that disagree, or records on both
            sides.
    """
    pool = _join(members, non_members, scale)
    shared = _shared(pool)
    if shared:
        non_member, member = next(iter(shared.items()))
        raise DataError(
            f"{len(shared)} of the {len(pool) - pool.members} non-members are members, too (equal "
            f"features and label); the first: non-member {non_member} equals member {member}. No "
            f"figure means anything then. Drop {_listed(list(shared))} from the non-members; "
            "selena.anymodel.shared_rows(members, non_members) returns all such rows."
        )
    return pool


def shared_rows(members: Given, non_members: Given) -> Int64[np.ndarray, " m"]:
    """Return the rows of non-members whose features and label equal those of some member.

    Raises:
        DataError: no pairs of features and labels, no records, or shapes or kinds that disagree.
    """
    return np.array(list(_shared(_join(members, non_members, scale=False))), dtype=np.int64)


def _join(members: Given, non_members: Given, scale: bool) -> Pool:
    ours, our_labels, our_groups = _pair(members, "members", scale)
    theirs, their_labels, their_groups = _pair(non_members, "non_members", scale)
    if type(ours) is not type(theirs):
        raise DataError(
            f"members are a {_kind(ours)}, non_members a {_kind(theirs)}. Give both in the "
            "container that the model takes."
        )
    try:
        features = contain(ours.join(theirs.values), "members and non_members")
    except DataError as error:
        raise DataError(f"members and non_members do not fit together: {error}.") from error
    labels = np.array([*our_labels.tolist(), *their_labels.tolist()], dtype=object)
    return Pool(features, labels, len(ours), _number(our_groups, their_groups))


def _number(ours: np.ndarray | None, theirs: np.ndarray | None) -> Int64[np.ndarray, " n"] | None:
    """Return the number of each record's group, members first."""
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        raise DataError("Give groups of both members and non_members, or of neither.")
    if ours.dtype.kind == theirs.dtype.kind:
        names = np.concatenate([ours, theirs])
    else:  # which NumPy might make floats of
        names = np.array([*ours.tolist(), *theirs.tolist()], dtype=object)
    numbers = number_groups(names)
    both = np.setdiff1d(np.intersect1d(numbers[: len(ours)], numbers[len(ours) :]), [-1])
    if len(both):
        rows = [int(np.flatnonzero(numbers == each)[0]) for each in both[: _SHOWN + 1]]
        shown = names[rows].tolist()
        raise DataError(
            f"{len(both)} groups have records on both sides: {_listed(shown)}. What tells of one "
            "of their records tells of the others. Leave their non-members out."
        )
    return numbers


def _pair(given: Any, what: str, scale: bool) -> tuple[Container, np.ndarray, np.ndarray | None]:
    x: Any
    y: Any
    groups: Any = None
    if isinstance(given, Records):
        x, y, groups = as_input(given.x) if scale else given.x, given.y, given.groups
    elif isinstance(given, Sequence) and not isinstance(given, str) and len(given) in (2, 3):
        x, y, *more = given
        groups = more[0] if more else None
    else:
        raise DataError(
            f"{what} must be a pair (x, y) of features and labels, a triple (x, y, groups), or "
            f"selena.Records; got a {type(given).__qualname__}."
        )
    features = contain(x, what)
    try:
        labels = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
        set(labels.reshape(-1).tolist())
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: the labels are no plain values ({error}).") from error
    if labels.shape not in ((len(features),), (len(features), 1)):
        raise DataError(
            f"{what}: shapes disagree: {len(features)} records and labels of shape "
            f"{labels.shape}. Give one label a record."
        )
    return features, labels.reshape(-1), _groups(groups, len(features), what)


def _groups(given: Any, n: int, what: str) -> np.ndarray | None:
    """Return the name of each record's group; both sides are numbered together later."""
    if given is None:
        return None
    names = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if names.shape != (n,):
        raise DataError(f"{what}: there are {n} records, and groups have shape {names.shape}.")
    try:
        number_groups(names)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    return names


def _shared(pool: Pool) -> dict[int, int]:
    """Return each non-member that equals a member, and the first such member."""
    keys = list(zip(pool.features.contents(), pool.labels.tolist(), strict=True))
    first: dict[tuple[bytes, Any], int] = {}
    for row, key in enumerate(keys[: pool.members]):
        first.setdefault(key, row)
    return {row: first[key] for row, key in enumerate(keys[pool.members :]) if key in first}


def _kind(container: Container) -> str:
    kind = type(container.values)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, values[:_SHOWN]))
    return f"{shown}, ..." if values[_SHOWN:] else shown
