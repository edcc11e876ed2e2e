"""Which sub-models do not train on a record: drawn from what the record is, and nothing else.

A draw by content settles three things at once. Records of equal content share one draw, without
which a sub-model that must not see the one would train on the other. Adding or removing a record
moves no other record's draw. And adaptive inference needs no memory of the training records: a
training record is answered by its own non-models, and any other input by a draw of the same
distribution that a repeated query meets again.
"""

from __future__ import annotations

from hashlib import shake_128
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import sparse

from selena.training.batches import in_chunks

_CHUNK = 4096


def draw_non_models(X: Any, *, k: int, l: int, key: bytes) -> Bool[np.ndarray, "n k"]:  # noqa: E741
    """Return for each record which L of the K sub-models never see it, uniform over all L-sets.

    Args:
        X: n x d numbers, an array or a sparse matrix; both forms of a record draw the same.
            Numbers that agree in float32, and -0.0 and 0.0, are the same content: many
            estimators cannot tell them apart either.
        k: number of sub-models.
        l: size of a set.
        key: who does not know it cannot predict a draw.
    """
    n = X.shape[0]
    draws = np.empty((n, k), dtype=np.uint64)
    for part in in_chunks(n, _CHUNK):
        rows = _canonical(X[part])
        for i in range(rows.shape[0]):
            inside = slice(rows.indptr[i], rows.indptr[i + 1])
            content = rows.indices[inside].tobytes() + rows.data[inside].tobytes()
            digest = shake_128(key + content).digest(8 * k)
            draws[part.start + i] = np.frombuffer(digest, dtype="<u8")
    excluded = np.zeros((n, k), dtype=bool)
    np.put_along_axis(excluded, draws.argsort(axis=1, kind="stable")[:, :l], True, axis=1)
    return excluded


def _canonical(X: Any) -> sparse.csr_array:
    """Return a copy that holds equal records as equal bytes: float32, sorted, no zeros."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        rows = sparse.csr_array(X, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.indices = rows.indices.astype(np.int64)
    rows.data[np.isnan(rows.data)] = np.nan  # one of many bit patterns
    return rows
