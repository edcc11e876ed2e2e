"""Records that belong together: all on one side of a cut, and scored once."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
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


def one_a_group(records: Records) -> tuple[Records, Records | None]:
    """Return the first record of each group, and the others, or None without groups."""
    if records.groups is None:
        return records, None
    _, first = np.unique(_each_in_one(records.groups), return_index=True)
    chosen = torch.zeros(len(records), dtype=torch.bool)
    chosen[torch.from_numpy(first)] = True
    return records.take(chosen), records.take(~chosen)


def _each_in_one(groups: Int[Tensor, " n"]) -> Int[np.ndarray, " n"]:
    """Return the groups, with a number below 0 of its own for each record that stands alone."""
    numbers = groups.numpy()
    return np.where(numbers < 0, -1 - np.arange(len(numbers)), numbers)
