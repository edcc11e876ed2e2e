"""Counts near copies among the records of an audit, if that takes seconds, and warns of them."""

from __future__ import annotations

import numpy as np

from selena.auditing.near_copies import NearCopies
from selena.content.near_duplicates import are_images, find_near_duplicates
from selena.content.neighbours import EXACT
from selena.content.vectors import Vectors, vectors_of
from selena.models.checks import warn
from selena.models.pool import GatheredRecords

MOST_PRODUCTS = 1e11
"""Most pairs of records times columns to compare; this many take some seconds."""
MOST_IMAGES = 2_000
"""Most images to compare, under shifts and mirroring."""

_TOO_MANY = "comparing all {:,} {} would take too long"
_SHARE, _FEW = 0.01, 5  # of a side, to warn; chance alone gives about a tenth of that


def count_near_copies(pool: GatheredRecords) -> NearCopies:
    """Return how many records of a pool have near copies; equal records count as one."""
    _, first = np.unique(np.where(pool.used, pool.contents, -1), return_index=True)
    rows = first[pool.used[first]]
    n, values = len(rows), pool.features.take(rows)
    images = are_images(values)
    if not images and n > EXACT:
        return NearCopies(reason=_TOO_MANY.format(n, "records"))
    x = values if images else vectors_of(values)
    if n > MOST_IMAGES if images else float(n) ** 2 * _width(x) > MOST_PRODUCTS:
        return NearCopies(reason=_TOO_MANY.format(n, "images" if images else "records"))
    links = find_near_duplicates(x)
    one, other = rows[links.first], rows[links.second]
    strange = pool.units[one] != pool.units[other]
    # Each link is listed once, so count it from both of its ends.
    mine = np.concatenate([one[strange], other[strange]])
    theirs = np.concatenate([other[strange], one[strange]])
    member = pool.member

    def count(side: bool, opposite: bool) -> int:
        return len(np.unique(mine[(member[mine] == side) & (member[theirs] == opposite)]))

    return NearCopies(
        count(True, True), count(False, False), count(True, False), count(False, True), n
    )


def warn_of_near_copies(found: NearCopies, pool: GatheredRecords) -> None:
    """Warn where near copies are common, and say what they do to figures."""
    sides = int((pool.member & pool.used).sum()), int((~pool.member & pool.used).sum())
    limits = [max(_FEW, _SHARE * n) for n in sides]
    across = (found.across_members, found.across_non_members)
    if any(n > limit for n, limit in zip(across, limits, strict=True)):
        warn(
            f"{across[0]:,} members have a near copy among the non-members, and {across[1]:,} "
            "non-members among the members: a model that learned the one knows the other, so "
            "attacks take such non-members for members, and what leaks is underestimated. Put near "
            "copies on one side, as one subject, before the split.",
        )
    within = (found.members, found.non_members)
    if any(n > limit for n, limit in zip(within, limits, strict=True)):
        warn(
            f"{within[0]:,} members and {within[1]:,} non-members have a near copy on their side: "
            "each counts as a record of its own, so intervals are too narrow, and an attacker who "
            "knows the one copy knows much of the other. Give near copies one subject.",
        )


def _width(x: Vectors) -> float:
    """Return how many columns enter the product of two records."""
    stored = getattr(x.values, "nnz", None)  # of a sparse matrix
    return float(x.width if stored is None else stored / max(1, len(x)))
