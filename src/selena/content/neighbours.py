"""The nearest records of each record, by scikit-learn's search; in cells for many records.

scikit-learn's brute force (products of blocks, a heap per row) and its k-d tree are exact and need
no further dependency. For more than `EXACT` records of many columns, vectors are projected to 64
dimensions, and each one belongs to the cells of its 3 nearest random directions. Only records of
one cell are compared; distances to these candidates are exact. So time grows with n and not with
its square, and memory is that of one cell and of n x 3 k candidates.

Neighbours in other cells are missed, and then others look like the only ones that are near. Rows
for which this matters can be compared with all records, in the 64 dimensions (`only`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import sparse

from selena.content.vectors import Vectors, squared_distances
from selena.seeding import numpy_generator
from selena.training.batches import in_chunks

EXACT = 20_000
"""Most records for which all pairs are compared."""

_TREE = 15  # most columns for which a k-d tree is faster than brute force
_PROJECTED = 64
_CELLS = 3  # cells per record
_PER_CELL = 5_000
_WIDE = 128  # candidates among all records: more than k, because projections distort distances
_CHUNK = 4096


def nearest(
    vectors: Vectors, k: int, only: Int64[np.ndarray, " m"] | None = None
) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, "m k"]]:
    """Return squared distances and rows of each record's k nearest others, the nearest first.

    Args:
        vectors: n records.
        k: number of neighbours, below n.
        only: rows to compare with all n records instead of those of their cells; None for a search
            for every record, m = n, in cells unless `_is_exact`.
    """
    mine = np.arange(len(vectors)) if only is None else only
    if _is_exact(vectors):
        points = vectors.rows(slice(None))
        tree = not sparse.issparse(points) and vectors.width <= _TREE
        rows = _search(points, points[mine], k + 1, "auto" if tree else "brute")
    else:
        points = _projected(vectors)
        if only is None:
            rows = _by_cells(points, k)
        else:
            rows = _search(points, points[mine], min(_WIDE, len(points)), "brute")
    return _sorted(vectors, mine, rows, k)


def _is_exact(vectors: Vectors) -> bool:
    """Return whether `nearest` misses no neighbour: there are few records, or few columns."""
    few = not sparse.issparse(vectors.values) and vectors.width <= _TREE
    return few or len(vectors) <= EXACT


def _search(points: Any, queries: Any, k: int, algorithm: str) -> Int64[np.ndarray, "m k"]:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(points)
    found: Int64[np.ndarray, "m k"] = index.kneighbors(queries, return_distance=False)
    return found


def _sorted(
    vectors: Vectors, mine: Int64[np.ndarray, " m"], rows: Int64[np.ndarray, "m c"], k: int
) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, "m k"]]:
    """Return the k nearest of candidates by exact distances; ties go to the lower row."""
    m, width = rows.shape
    rows = np.sort(rows, axis=1)
    gaps = np.empty((m, width))
    for part in in_chunks(m, max(1, _CHUNK // width)):
        repeated = np.repeat(mine[part], width)
        gaps[part] = squared_distances(vectors, repeated, rows[part].ravel()).reshape(-1, width)
    gaps[:, 1:][rows[:, 1:] == rows[:, :-1]] = np.inf  # found in several cells
    gaps[rows == mine[:, None]] = np.inf
    order = gaps.argsort(axis=1, kind="stable")[:, :k]
    return np.take_along_axis(gaps, order, 1), np.take_along_axis(rows, order, 1)


def _by_cells(points: Float32[np.ndarray, "n d"], k: int) -> Int64[np.ndarray, "n c"]:
    """Return candidates for each record's k nearest, including itself: k + 1 per cell."""
    n = len(points)
    count = max(_CELLS, round(_CELLS * n / _PER_CELL))
    pivots = numpy_generator(0, "pivots").choice(n, min(n, count), replace=False)
    # Directions from the center: cells of pivots near the center would hold too many records.
    middle = points.mean(axis=0)
    directions = _unit(points[np.sort(pivots)] - middle)
    cells = np.empty((n, _CELLS), dtype=np.int64)
    for part in in_chunks(n, _CHUNK):
        near = (points[part] - middle) @ directions.T
        cells[part] = np.argpartition(-near, _CELLS - 1, axis=1)[:, :_CELLS]
    found = np.repeat(np.arange(n)[:, None], _CELLS * (k + 1), axis=1).reshape(n, _CELLS, k + 1)
    for cell in range(len(directions)):
        mine, which = np.nonzero(cells == cell)
        wanted = min(k + 1, len(mine))
        if wanted > 1:
            inside = points[mine]
            found[mine, which, :wanted] = mine[_search(inside, inside, wanted, "brute")]
    return found.reshape(n, -1)


def _unit(points: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, "m d"]:
    length = np.sqrt(np.square(points).sum(axis=1, keepdims=True))
    scaled: Float32[np.ndarray, "m d"] = points / np.maximum(length, np.float32(1e-30))
    return scaled


def _projected(vectors: Vectors) -> Float32[np.ndarray, "n d"]:
    """Return the vectors on random directions, which keep distances within about a fifth."""
    draw = numpy_generator(0, "directions")
    directions = draw.standard_normal((vectors.width, _PROJECTED), dtype=np.float32)
    found = np.empty((len(vectors), _PROJECTED), dtype=np.float32)
    for part in in_chunks(len(vectors), _CHUNK):
        found[part] = vectors.rows(part) @ directions
    return found
