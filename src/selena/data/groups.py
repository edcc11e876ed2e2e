"""Records that belong together: all on one side of a cut, and counted as one."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from scipy import sparse
from torch import Tensor

from selena.errors import DataError
from selena.types import Records


def whole_groups(
    rows: Int[Tensor, " m"], groups: Int[Tensor, " n"], sizes: list[int]
) -> tuple[Int[Tensor, " m"], list[int]]:
    """Move each group to the place of its first row, and each cut to the next end of a group.

    Args:
        rows: a shuffle of records.
        groups: number of each record's group, negative where it stands alone.
        sizes: of the parts that the rows are cut in, one after another; all are above 0.

    Returns:
        The rows, and the sizes of the parts.

    Raises:
        DataError: a part would be empty.
    """
    _, first, inverse = np.unique(
        _each_in_one(groups[rows]), return_index=True, return_inverse=True
    )
    order = np.argsort(first[inverse], kind="stable")
    ends = np.append(np.flatnonzero(np.diff(np.sort(first[inverse]))) + 1, len(rows))
    cuts = ends[np.searchsorted(ends, np.cumsum(sizes))]
    parts = np.diff(cuts, prepend=0).tolist()
    if min(parts) == 0:
        raise DataError(
            f"The groups are too large: of {len(ends):,} groups of records, the largest with "
            f"{int(np.bincount(inverse).max()):,}, not each of {len(sizes)} sets gets one. Take "
            "fewer members, or smaller groups."
        )
    return rows[torch.from_numpy(order)], parts


def join_groups(
    content: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return numbers from 0 that records share which are linked by equal content or one group.

    Links chain: two persons with one row in common are joined. Numbers follow those of `content`,
    so groups of one record each leave them as they are.

    Args:
        content: number of each record's distinct content, from 0.
        groups: number of each record's group, negative where it stands alone.
    """
    together = np.flatnonzero(groups >= 0)
    names, mine = np.unique(groups[together], return_inverse=True)
    contents = int(content.max()) + 1
    nodes = contents + len(names)
    links = sparse.coo_array(
        (np.ones(len(together), dtype=bool), (content[together], contents + mine)),
        shape=(nodes, nodes),
    )
    _, joined = sparse.csgraph.connected_components(links, directed=False)
    numbers: Int[np.ndarray, " n"] = joined[content].astype(np.int64)
    return numbers


def units(records: Records) -> Int[np.ndarray, " n"]:
    """Return what counts as one, numbered by first appearance: a group, or a record on its own."""
    if records.groups is None:
        return np.arange(len(records))
    _, first, inverse = np.unique(
        _each_in_one(records.groups), return_index=True, return_inverse=True
    )
    return first.argsort().argsort()[inverse]


def count_units(records: Records) -> int:
    """Return how many groups and records on their own there are."""
    return len(np.unique(units(records)))


def cut_units(records: Records, order: Int[Tensor, " units"], size: int) -> tuple[Records, Records]:
    """Return the records of the first `size` units of an order of all units, and all others."""
    place = order.argsort()[torch.from_numpy(units(records))]
    rows = place.argsort(stable=True)
    first = int((place < size).sum())
    return records.take(rows[:first]), records.take(rows[first:])


def _each_in_one(groups: Int[Tensor, " n"]) -> Int[np.ndarray, " n"]:
    """Return the groups, with a number below 0 of its own for each record that stands alone."""
    numbers = groups.numpy()
    return np.where(numbers < 0, -1 - np.arange(len(numbers)), numbers)
