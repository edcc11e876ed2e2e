"""One pool of members and non-members: checked, labels numbered, split in known and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from selena.content.digests import digests, number_contents
from selena.data.subjects import join_subjects, number_subjects
from selena.errors import ConfigError, DataError
from selena.models.containers import Container, contain
from selena.models.datasets import is_dataset, read_dataset
from selena.seeding import numpy_generator
from selena.training.batches import as_input
from selena.types import AuditSplit, MembershipSets, Records

Given = tuple[Any, Any] | tuple[Any, Any, Any] | Records | Dataset[Any] | DataLoader[Any]
"""Records from a user: features, labels and maybe subjects, or a data set or loader."""

_SHOWN = 10
# Thresholds are cross-fitted on halves of the known records.
_FEWEST_KNOWN = 2


@dataclass(frozen=True, eq=False)
class GatheredRecords:
    """Members and then non-members.

    Attributes:
        features: n records in the container they came in.
        labels: as they were given.
        members: number of members.
        subjects: number of each record's subject, or None if no record has one.
        left_out: records that are neither known nor scored, or None.
        never_scored: records that the attacker always knows, or None.
    """

    features: Container
    labels: Shaped[np.ndarray, " n"]
    members: int
    subjects: Int64[np.ndarray, " n"] | None = None
    left_out: Bool[np.ndarray, " n"] | None = None
    never_scored: Bool[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def member(self) -> Bool[np.ndarray, " n"]:
        """True for members."""
        return np.arange(len(self)) < self.members

    @cached_property
    def contents(self) -> Int64[np.ndarray, " n"]:
        """Number of each record's content (features and label), by first appearance.

        Raises:
            DataError: a record with values that cannot be compared.
        """
        return number_contents(list(zip(self._keys, self.labels.tolist(), strict=True)))

    @cached_property
    def _keys(self) -> list[bytes]:
        return digests(self.features.values, self.name)

    @cached_property
    def members_alone(self) -> Int64[np.ndarray, " m"]:
        """Rows of members whose features no non-member has; left-out records count too."""
        theirs = set(self._keys[self.members :])
        mine = [key not in theirs for key in self._keys[: self.members]]
        return np.flatnonzero(mine & self.used[: self.members])

    @property
    def used(self) -> Bool[np.ndarray, " n"]:
        """True for records that are not left out."""
        return np.ones(len(self), dtype=bool) if self.left_out is None else ~self.left_out

    @cached_property
    def units(self) -> Int64[np.ndarray, " n"]:
        """Number of each record's unit: equal records are one unit, as are those of one subject.

        Subjects with equal records become one unit, unless that would join most of a side: with
        few possible values, persons have equal rows by chance, so their subjects stay separate.
        """
        if self.subjects is None:
            return self.contents
        numbers = np.full(len(self), -1, dtype=np.int64)
        for side in (self.used & self.member, self.used & ~self.member):
            if side.any():
                alone = np.where(self.subjects < 0, -1 - self.contents, self.subjects)[side]
                try:
                    mine = join_subjects(
                        np.unique(self.contents[side], return_inverse=True)[1], self.subjects[side]
                    )
                except DataError:
                    mine = np.unique(alone, return_inverse=True)[1]
                numbers[side] = mine + numbers.max() + 1
        return numbers

    def name(self, row: int) -> str:
        """Return what messages call a record: "member 3"."""
        side, first = ("member", 0) if row < self.members else ("non-member", self.members)
        return f"{side} {row - first}"

    def check_finite(self, *, missing: bool) -> None:
        """Raise `DataError` where a feature is infinite or, unless `missing`, NaN."""
        try:
            numbers = self.features.numbers()
        except DataError:
            return  # strings and sparse matrices are checked by the model that takes them
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
            names: names of the model's classes in the order of its columns; without names,
                labels are column numbers.
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
        """Return the known and the scored records, with features `x` and labels `classes`.

        A unit (`units`) is known as a whole or not at all, and `known_fraction` counts units.

        Raises:
            DataError: too few members or non-members to know some and score others.
            ConfigError: a share outside (0, 1).
        """
        if not 0 < known_fraction < 1:
            raise ConfigError(f"known_fraction is {known_fraction}; it is a share between 0 and 1.")
        every = Records(x, torch.from_numpy(classes), torch.arange(len(self)), self._subjects())
        always = np.zeros(len(self), dtype=bool) if self.never_scored is None else self.never_scored
        known, scored = [], []
        for side, mine in (("members", self.member), ("non-members", ~self.member)):
            rows = np.flatnonzero(mine & self.used & ~always)
            names, unit = np.unique(self.units[rows], return_inverse=True)
            n = len(names)
            if n <= _FEWEST_KNOWN:
                raise DataError(
                    f"{n} {side} are too few (equal records, and those of a subject, count once): "
                    f"at least {_FEWEST_KNOWN} are known to the attacker and others are scored. "
                    "Give more."
                )
            size = min(max(round(known_fraction * n), _FEWEST_KNOWN), n - 1)
            draw = numpy_generator(seed, "anymodel", "known", side).permutation(n)
            first = np.isin(unit, draw[:size])
            told = np.union1d(rows[first], np.flatnonzero(mine & self.used & always))
            known.append(every.take(torch.from_numpy(told)))
            scored.append(every.take(torch.from_numpy(rows[~first])))
        nobody = every.take(torch.arange(0))
        return AuditSplit(MembershipSets(*known), MembershipSets(*scored), nobody)

    def _subjects(self) -> Tensor | None:
        """Return the units as subjects of `Records`: -1 for a record that is a unit by itself."""
        _, unit, sizes = np.unique(
            np.where(self.used, self.units, -1), return_inverse=True, return_counts=True
        )
        several = self.used & (sizes[unit] > 1)
        if self.subjects is None and not several.any():
            return None
        return torch.from_numpy(np.where(several, unit, -1))


def gather(
    members: Given, non_members: Given, *, scale: bool, deduplicate: bool = False, seed: int = 0
) -> GatheredRecords:
    """Return members and non-members as one pool; no used record is on both sides.

    Args:
        members: records in the training set, `(x, y)` or `Records`.
        non_members: other records, in the same kind of container.
        scale: whether to convert `Records` to what networks take (pixels in [0, 1]).
        deduplicate: whether records that are on both sides are left out (`drop_shared`).
        seed: seed of the draw for `deduplicate`.

    Raises:
        DataError: no such pair, no records, shapes or kinds that disagree, a record that cannot be
            compared, or records on both sides.
    """
    pool = _join(members, non_members, scale)
    shared = _shared(pool)
    if shared and deduplicate:
        rest = drop_shared(pool, seed=seed)
        if not rest.used.any():
            raise DataError(
                "All records are on both sides, so none is left. Give non-members that are not "
                "members."
            )
        return rest
    if shared:
        non_member, member = next(iter(shared.items()))
        raise DataError(
            f"{len(shared)} of the {len(pool) - pool.members} non-members are members, too (equal "
            f"features and label); the first: non-member {non_member} equals member {member}. "
            "Deduplicate the records before you split them, or pass deduplicate=True "
            "(--deduplicate), which leaves such records out on both sides; dropping them from one "
            "side alone looks like a leak."
        )
    return pool


def drop_shared(pool: GatheredRecords, *, seed: int) -> GatheredRecords:
    """Return the pool without records whose content is on both sides.

    They are left out on both sides. If they stayed among the members, only members would have
    common records, and a model that is more confident on common records would seem to leak.

    Both sides must be drawn alike if nothing leaks. With sides of one size they are, since members
    and non-members could change places. With n members and m < n non-members they are not: a
    content of probability p is among the members only with probability (1 - (1-p)^n) (1-p)^m, among
    the non-members only with (1 - (1-p)^m) (1-p)^n, and the ratio of the two grows with p. So a
    random surplus of the larger side is known to the attacker and not scored, and contents in the
    surplus are left out as well. The remaining sides have one size and passed the same filter.
    """
    units = np.arange(len(pool))
    if pool.subjects is not None:
        units = np.where(pool.subjects < 0, -1 - units, pool.subjects)
    sides = [np.unique(units[side]) for side in (pool.member, ~pool.member)]
    larger = max(sides, key=len)
    draw = numpy_generator(seed, "anymodel", "surplus").permutation(len(larger))
    surplus = np.isin(units, larger[draw[min(map(len, sides)) :]])
    contents = pool.contents
    shared = np.intersect1d(contents[pool.member], contents[~pool.member])
    left_out = np.isin(contents, shared)
    left_out |= ~surplus & np.isin(contents, contents[surplus])
    return replace(pool, left_out=left_out, never_scored=surplus & ~left_out)


def shared_rows(members: Given, non_members: Given) -> Int64[np.ndarray, " m"]:
    """Return the rows of non-members whose features and label equal those of some member.

    Do not drop only these: members would keep the common records, and then any model seems to
    leak. Deduplicate before the split, or audit with `deduplicate=True`.

    Raises:
        DataError: no pairs of features and labels, no records, shapes or kinds that disagree, or a
            record that cannot be compared.
    """
    return np.array(list(_shared(_join(members, non_members, scale=False))), dtype=np.int64)


def _join(members: Given, non_members: Given, scale: bool) -> GatheredRecords:
    ours, our_labels, our_subjects = _pair(members, "members", scale)
    theirs, their_labels, their_subjects = _pair(non_members, "non_members", scale)
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
    return GatheredRecords(features, labels, len(ours), _number(our_subjects, their_subjects))


def _number(ours: np.ndarray | None, theirs: np.ndarray | None) -> Int64[np.ndarray, " n"] | None:
    """Return the number of each record's subject, members first."""
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        raise DataError("Give subjects of both members and non_members, or of neither.")
    if ours.dtype.kind == theirs.dtype.kind:
        names = np.concatenate([ours, theirs])
    else:  # joined as lists, because NumPy might turn mixed types into floats
        names = np.array([*ours.tolist(), *theirs.tolist()], dtype=object)
    numbers = number_subjects(names)
    both = np.setdiff1d(np.intersect1d(numbers[: len(ours)], numbers[len(ours) :]), [-1])
    if len(both):
        rows = [int(np.flatnonzero(numbers == each)[0]) for each in both[: _SHOWN + 1]]
        shown = names[rows].tolist()
        raise DataError(
            f"{len(both)} subjects have records on both sides: {_listed(shown)}. Each record of a "
            "subject reveals the others, so leave out their non-members."
        )
    return numbers


def _pair(given: Any, what: str, scale: bool) -> tuple[Container, np.ndarray, np.ndarray | None]:
    x: Any
    y: Any
    subjects: Any = None
    if is_dataset(given):
        given = read_dataset(given, what)
    if isinstance(given, Records):
        x, y, subjects = as_input(given.x) if scale else given.x, given.y, given.subjects
    elif isinstance(given, Sequence) and not isinstance(given, str) and len(given) in (2, 3):
        x, y, *more = given
        subjects = more[0] if more else None
    else:
        raise DataError(
            f"{what} must be a pair (x, y) of features and labels, a triple (x, y, subjects), "
            f"selena.Records, or a data set or loader of PyTorch; got a {type(given).__qualname__}."
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
            f"{labels.shape}. Give one label per record."
        )
    return features, labels.reshape(-1), _subjects(subjects, len(features), what)


def _subjects(given: Any, n: int, what: str) -> np.ndarray | None:
    """Return the name of each record's subject; both sides are numbered together later."""
    if given is None:
        return None
    names = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if names.shape != (n,):
        raise DataError(f"{what}: there are {n} records, and subjects have shape {names.shape}.")
    try:
        number_subjects(names)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    return names


def _shared(pool: GatheredRecords) -> dict[int, int]:
    """Return the non-members that equal a member, each with the first such member."""
    ours, first = np.unique(pool.contents[: pool.members], return_index=True)
    theirs = pool.contents[pool.members :]
    member = dict(zip(ours.tolist(), first.tolist(), strict=True))
    return {int(row): member[int(theirs[row])] for row in np.flatnonzero(np.isin(theirs, ours))}


def _kind(container: Container) -> str:
    kind = type(container.values)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, values[:_SHOWN]))
    return f"{shown}, ..." if values[_SHOWN:] else shown
