"""Subjects: records that belong together are on one side of a split, and count as one.

Here subjects must be declared; only Split-AI searches for near copies itself. A split keeps
subjects whole, so its parts may differ from the requested sizes by a few records. Reference models
train on half of the subjects, not of the records. An audit gives each subject one score, the mean
of its records' scores, so that scores are independent and intervals correct. Intervals of the
model's own accuracies allow for the spread between subjects.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from scipy import sparse
from torch import Tensor

from selena.errors import DataError
from selena.types import Records


def whole_subjects(
    rows: Int[Tensor, " m"], subjects: Int[Tensor, " n"], sizes: list[int]
) -> tuple[Int[Tensor, " m"], list[int]]:
    """Bring the rows of each subject together in a shuffle, and cut between subjects.

    A subject takes the place of its lowest row number. The place of its first row in the shuffle
    would be biased: large subjects would come early.

    Args:
        rows: a shuffle of records.
        subjects: number of each record's subject, negative for a record without one.
        sizes: sizes of the consecutive parts; all are above 0.

    Returns:
        The rows, and the sizes of the parts.

    Raises:
        DataError: a part would be empty.
    """
    ascending = rows.argsort().numpy()  # places in the shuffle, by row number
    _, lowest, inverse = np.unique(
        _each_in_one(subjects[rows[ascending]]), return_index=True, return_inverse=True
    )
    place = ascending[lowest][inverse]
    order = ascending[np.argsort(place, kind="stable")]
    ends = np.append(np.flatnonzero(np.diff(np.sort(place))) + 1, len(rows))
    cuts = ends[np.searchsorted(ends, np.cumsum(sizes))]
    parts = np.diff(cuts, prepend=0).tolist()
    if min(parts) == 0:
        raise DataError(
            f"The subjects are too large: of {len(ends):,} subjects of records, the largest with "
            f"{int(np.bincount(inverse).max()):,}, not each of {len(sizes)} sets gets one. Take "
            "other sizes, more subjects, or smaller ones."
        )
    return rows[torch.from_numpy(order)], parts


def join_subjects(
    content: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return one number, from 0, per set of records linked by equal content or a subject.

    Links chain: two persons with one row in common are joined. Without subjects of several records
    the numbers equal `content`.

    Args:
        content: number of each record's distinct content, from 0.
        subjects: number of each record's subject, negative for a record without one.

    Raises:
        DataError: more than half of the records are linked.
    """
    together = np.flatnonzero(subjects >= 0)
    names, mine = np.unique(subjects[together], return_inverse=True)
    contents = int(content.max()) + 1
    nodes = contents + len(names)
    links = sparse.coo_array(
        (np.ones(len(together), dtype=bool), (content[together], contents + mine)),
        shape=(nodes, nodes),
    )
    _, joined = sparse.csgraph.connected_components(links, directed=False)
    numbers: Int[np.ndarray, " n"] = joined[content].astype(np.int64)
    most = int(np.bincount(numbers).max())
    if 2 * most > len(numbers) > 1:
        raise DataError(
            f"{most:,} of {len(numbers):,} records are linked by subjects, or by equal rows of "
            "several subjects, so too few are left to train a sub-model. Drop rows that many "
            "subjects share (such as empty rows), or make the subjects smaller."
        )
    return numbers


def number_subjects(names: np.ndarray) -> Int[np.ndarray, " n"]:
    """Return the number of each record's subject, -1 for a record without one.

    Args:
        names: integers or strings, also mixed: "7" equals 7. -1 stands for no subject.

    Raises:
        DataError: not one value per record, a missing value, a fraction, or an integer below -1.
    """
    if names.ndim != 1 or names.dtype.kind not in "buiUOT":
        raise DataError(
            f"subjects have shape {names.shape} and type {names.dtype}; they must be integers or "
            "strings, one per record."
        )
    if names.dtype.kind not in "bui":
        missing = [i for i, name in enumerate(names.tolist()) if _is_missing(name)]
        if missing:
            raise DataError(
                f"the subject of record {missing[0]} is missing ({len(missing)} in all). Give -1 "
                "for a record without a subject."
            )
        names = np.array([str(name) for name in names.tolist()], dtype=np.str_)
    alone = names == (-1 if names.dtype.kind in "bui" else "-1")
    if names.dtype.kind == "i" and bool((names < -1).any()):
        raise DataError(
            f"a subject has the number {int(names.min())}. Use numbers from 0 on (or strings), and "
            "-1 for a record without a subject."
        )
    numbers: Int[np.ndarray, " n"] = np.unique(names, return_inverse=True)[1].astype(np.int64)
    numbers[alone] = -1
    return numbers


def _is_missing(name: object) -> bool:
    """Return whether a value is missing: None, NaN or pandas' own missing values."""
    return name is None or str(name) in {"nan", "NaT", "<NA>", ""}


def units(records: Records) -> Int[np.ndarray, " n"]:
    """Return the unit of each record, numbered by first appearance: a subject or one record."""
    if records.subjects is None:
        return np.arange(len(records))
    _, first, inverse = np.unique(
        _each_in_one(records.subjects), return_index=True, return_inverse=True
    )
    return first.argsort().argsort()[inverse]


def count_units(records: Records) -> int:
    """Return the number of units: subjects, and records without one."""
    return len(records) if records.subjects is None else len(np.unique(units(records)))


def cut_units(records: Records, order: Int[Tensor, " units"], size: int) -> tuple[Records, Records]:
    """Return the records of the first `size` units in `order`, and all other records."""
    place = order.argsort()[torch.from_numpy(units(records))]
    rows = place.argsort(stable=True)
    first = int((place < size).sum())
    return records.take(rows[:first]), records.take(rows[first:])


def _each_in_one(subjects: Int[Tensor, " n"]) -> Int[np.ndarray, " n"]:
    """Return the subjects; each record without one gets its own number below 0."""
    numbers = subjects.numpy()
    return np.where(numbers < 0, -1 - np.arange(len(numbers)), numbers)
