"""Near-duplicate records, found by their content and linked into one unit.

A sub-model of Split-AI that must not see a record learns it from a near copy (Aerni, Zhang &
Tramèr, CCS 2024), so the two must share one draw of L of K. Near copies are found by distances
between records, without labels, attacks and membership.

The rule of "auto" looks for a gap in the sorted distances from each record to its nearest others.
The first g neighbours are near copies if distance g is at most c times distance g+1. In data of
dimension D without near copies, (distance g / distance g+1)^D is below a with probability a^g
(volumes of nearest balls, Levina & Bickel 2004). So c = a^(1/D), at most two thirds, with
a = 1/1000 and D estimated from the distances to the 4th and 8th neighbour. A record with more than
8 near copies has no gap among its 9 nearest: declare such subjects, or give a threshold.

Distances cannot tell near copies from records of a rare sub-population, which are also close to
each other and far from the rest. But if few records have copies, most copies are in pairs, while
sub-populations form groups of three or more. If such groups hold more than a twentieth of the
records, "auto" takes them for sub-populations and links nothing: a sub-model without any record of
a sub-population cannot answer for it, and SELENA would lose much of its accuracy.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy import sparse

from selena.content import neighbours
from selena.content.images import nearest_images
from selena.content.neighbours import nearest
from selena.content.vectors import Vectors, vectors_of
from selena.errors import AuditWarning, ConfigError

NearDuplicates = Literal["auto", "exact"] | float
"""How near copies are found: "auto" by the gap, "exact" not at all, a number up to a distance.

A distance counts bits of binary records, and standard deviations (Euclidean norm) of other numbers.
For images it is the root of one minus the correlation of their pixels, in [0, 1].
"""

MOST_COPIES = 8
"""Most near copies per record, for "auto" and for a threshold."""
FEWEST_RECORDS = 50
"""Fewest different records for "auto"; with fewer it finds only exact copies."""
LARGEST = 32
"""Most subjects or records that near copies may join, so that no chain swallows a class."""

_RARE = 1e-3
_FURTHEST = 2 / 3
_LARGEST_SHARE = 0.1
_A_GROUP = 3
_MOST_IN_GROUPS = 0.05

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Links:
    """Pairs of records that are near copies.

    Attributes:
        first, second: rows of the m pairs.
        distances: distance of each pair, in the unit of `NearDuplicates`.
        limit: the largest distance, or the share c of "auto".
    """

    first: Int64[np.ndarray, " m"]
    second: Int64[np.ndarray, " m"]
    distances: Float64[np.ndarray, " m"]
    limit: float

    def __len__(self) -> int:
        return len(self.first)


def check_near_duplicates(value: object) -> None:
    """Raise `ConfigError` unless `value` is "auto", "exact" or a distance above 0."""
    if value in ("auto", "exact"):
        return
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        raise ConfigError(
            f"near_duplicates={value!r} is unknown; use auto, exact, or a distance above 0."
        )
    if not 0 < value < math.inf:
        raise ConfigError(
            f"near_duplicates is {value:g}; a distance is above 0. Use exact to link equal records "
            "alone."
        )


def find_near_duplicates(x: Any, near_duplicates: NearDuplicates = "auto") -> Links:
    """Return the pairs of records that are near copies; give equal records only once.

    The cost is that of `nearest`. Of more than `neighbours.EXACT` records, "auto" then compares
    those that seem to have near copies with all others.

    Images (arrays of four dimensions) are compared under shifts and mirroring, other records as
    vectors (`vectors_of`).

    Args:
        x: n records of any kind, or their vectors.
        near_duplicates: see `NearDuplicates`.

    Raises:
        ConfigError: an invalid setting.
    """
    check_near_duplicates(near_duplicates)
    records = x if isinstance(x, Vectors) or are_images(x) else vectors_of(x)
    n = len(records)
    few = n < (FEWEST_RECORDS if near_duplicates == "auto" else 2)
    if near_duplicates == "exact" or few:
        return _links([], [], [], 0.0)
    k = min(MOST_COPIES + 1, n - 1)
    distances, rows = _nearest(records, k)
    if near_duplicates == "auto":
        # Distances of bits are whole numbers, which may be off by half a step.
        step = 0.5 if isinstance(records, Vectors) and records.bits else 0.0
        limit = gap_limit(distances)
        near = _before_gap(distances, limit, step)
        only = np.flatnonzero(near.any(axis=1))
        if len(only) and n > neighbours.EXACT:  # cells miss neighbours, which may fill a gap
            distances[only], rows[only] = _nearest(records, k, only)
            near = _before_gap(distances, limit, step)
    else:
        limit = float(near_duplicates)
        near = distances <= limit
        near[:, MOST_COPIES:] = False
    mine, place = np.nonzero(near)
    links = _links(mine, rows[mine, place], distances[mine, place], limit)
    if near_duplicates == "auto" and _share_in_groups(links, n) > _MOST_IN_GROUPS:
        _LOG.info(
            "Near copies are not linked: over %.0f %% of the records are in groups of three or "
            "more close ones, which are probably no copies. Declare subjects, or set "
            "near_duplicates to a distance.",
            100 * _MOST_IN_GROUPS,
        )
        return _links([], [], [], limit)
    return links


def _nearest(
    records: Any, k: int, only: Int64[np.ndarray, " m"] | None = None
) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, "m k"]]:
    """Return sorted distances, in the unit of `NearDuplicates`, and rows of k neighbours."""
    if not isinstance(records, Vectors):
        return nearest_images(records, k, only)
    squared, rows = nearest(records, k, only)
    return squared if records.bits else np.sqrt(squared), rows


def _share_in_groups(links: Links, n: int) -> float:
    """Return the share of n records in linked groups of three or more."""
    joined = _components(n, np.stack([links.first, links.second], axis=1))
    return float((np.bincount(joined)[joined] >= _A_GROUP).mean())


def are_images(x: Any) -> bool:
    """Return whether records are an array of four dimensions: images with channels."""
    return len(getattr(x, "shape", ())) == 4


def gap_limit(distances: Float64[np.ndarray, "n k"]) -> float:
    """Return c: a near copy is at most c times as far away as the next neighbour.

    Args:
        distances: sorted distances of each record to its 8 nearest others or more.
    """
    half = MOST_COPIES // 2
    near, far = distances[:, half - 1], distances[:, MOST_COPIES - 1]
    # Records with copies between both distances would bias the ratio, so they are left out: some
    # distance doubles at a step. By chance that is rare: the probability is below 2^(-4 D).
    steps = distances[:, half - 1 : MOST_COPIES]
    even = (near > 0) & (2 * steps[:, :-1] > steps[:, 1:]).all(axis=1)
    if not even.any():
        return 0.0
    growth = float(np.log(far[even] / near[even]).mean())
    # The mean is (1/4 + 1/5 + 1/6 + 1/7) / D for records that are spread evenly.
    expected = sum(1 / i for i in range(half, MOST_COPIES))
    return min(_FURTHEST, float(_RARE ** (growth / expected)))


def _before_gap(
    distances: Float64[np.ndarray, "n k"], limit: float, step: float
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return which of each record's neighbours come before its last gap."""
    near, far = distances[:, :-1], distances[:, 1:]
    known = np.isfinite(far)  # a search by cells may find fewer
    gap = known & (near + step <= limit * (np.where(known, far, 0.0) - step))
    before = np.logical_or.accumulate(gap[:, ::-1], axis=1)[:, ::-1]
    return np.pad(before, ((0, 0), (0, 1)))


def _links(first: Any, second: Any, distances: Any, limit: float) -> Links:
    rows = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    return Links(*rows, np.asarray(distances, dtype=np.float64), limit)


def join_near(
    x: Any,
    contents: Int64[np.ndarray, " n"],
    units: Int64[np.ndarray, " n"],
    near_duplicates: NearDuplicates,
) -> Int64[np.ndarray, " n"]:
    """Return the units of records, with units that hold near copies joined.

    Args:
        x: n records of any kind.
        contents: number of each record's distinct content, from 0.
        units: number of each record's unit, from 0; equal contents have equal units.
        near_duplicates: see `NearDuplicates`.

    Returns:
        Numbers of units: joined units get their lowest number, all others keep their own.

    Warns:
        AuditWarning: chains of near copies were cut, because they would join too many.
    """
    if near_duplicates == "exact":
        return units
    _, rows = np.unique(contents, return_index=True)
    different = x[rows] if are_images(x) else vectors_of(x).take(rows)
    links = find_near_duplicates(different, near_duplicates)
    return join_units(units, rows[links.first], rows[links.second], links.distances)


def join_units(
    units: Int64[np.ndarray, " n"],
    first: Int64[np.ndarray, " m"],
    second: Int64[np.ndarray, " m"],
    distances: Float64[np.ndarray, " m"],
) -> Int64[np.ndarray, " n"]:
    """Return units joined by links between records, the nearest first, at most `LARGEST` per join.

    Args:
        units: number of each record's unit, from 0.
        first: one row of each linked pair.
        second: the other row.
        distances: distance of each pair.
    """
    one, other = np.minimum(units[first], units[second]), np.maximum(units[first], units[second])
    different = one != other
    order = np.lexsort((other[different], one[different], distances[different]))
    pairs = np.stack([one[different], other[different]], axis=1)[order]
    if not len(pairs):
        return units
    count = int(units.max()) + 1
    records = np.bincount(units, minlength=count)
    most = max(2, int(_LARGEST_SHARE * len(units)))
    joined = _components(count, pairs)
    held, joins = np.bincount(joined, records), np.bincount(joined)
    wide = (joins[joined] > LARGEST) | ((held[joined] > most) & (joins[joined] > 1))
    if wide.any():
        kept = _within_limits(pairs[wide[pairs[:, 0]]].tolist(), records, most)
        warnings.warn(
            f"Near copies form chains of up to {int(joins.max()):,} records or subjects; chains "
            f"were cut at {LARGEST}, or at {most:,} records, between the least alike. Give a lower "
            "near_duplicates distance, or exact and subjects, if so many are not near copies.",
            AuditWarning,
            stacklevel=2,
        )
        pairs = np.concatenate([pairs[~wide[pairs[:, 0]]], kept])
        joined = _components(count, pairs)
    lowest = np.full(count, count)
    np.minimum.at(lowest, joined, np.arange(count))
    found: Int64[np.ndarray, " n"] = lowest[joined][units]
    return found


def _components(count: int, pairs: Int64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " units"]:
    graph = sparse.coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(count, count))
    _, numbers = sparse.csgraph.connected_components(graph, directed=False)
    return np.asarray(numbers, dtype=np.int64)


def _within_limits(
    pairs: Iterable[list[int]], records: Int64[np.ndarray, " units"], most: int
) -> Int64[np.ndarray, "m 2"]:
    """Return the pairs that join units, in order, without those that make a unit too large."""
    root: dict[int, int] = {}
    joins: dict[int, int] = {}
    held: dict[int, int] = {}

    def find(unit: int) -> int:
        while root.setdefault(unit, unit) != unit:
            root[unit] = root[root[unit]]
            unit = root[unit]
        return unit

    kept = []
    for one, other in pairs:
        a, b = find(one), find(other)
        size = joins.get(a, 1) + joins.get(b, 1)
        weight = held.get(a, int(records[a])) + held.get(b, int(records[b]))
        if a != b and size <= LARGEST and weight <= most:
            root[b], joins[a], held[a] = a, size, weight
            kept.append([one, other])
    return np.array(kept, dtype=np.int64).reshape(-1, 2)
