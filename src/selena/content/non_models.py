"""Non-models of records, drawn by content: which sub-models do not train on a record.

A draw by content has three advantages. Records of equal content share one draw; otherwise a
sub-model that must not see one of them would train on the other. Adding or removing a record
changes no other record's draw. And adaptive inference needs no list of training records: the draw
for a training record gives its own non-models, and the draw for any other input has the same
distribution and does not change when the query is repeated.

Records of one subject and near copies have different content, but share the draw of one of them.
Only these shared draws are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import shake_128
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from selena.content.keyed import l_of_k
from selena.content.near_duplicates import NearDuplicates, join_near
from selena.content.rows import count_rows, row_bytes
from selena.data.subjects import join_subjects

_START = 16  # first bytes of a digest, which identify it


Shared = Mapping[bytes, bytes]
"""Start of a record's own digest -> digest of the record whose draw it shares."""


def draw_non_models(
    X: Any,
    *,
    n_submodels: int,
    n_nonmodels: int,
    key: bytes,
    shared: Shared = MappingProxyType({}),
) -> Bool[np.ndarray, "n k"]:
    """Return for each record which L of the K sub-models never see it, uniform over all L-sets.

    Args:
        X: n records: an array, a sparse matrix, a frame or a list, all with the same draws.
            Numbers that agree in float32, and -0.0 and 0.0, are the same content, since many
            estimators cannot tell them apart either.
        n_submodels: K, number of sub-models.
        n_nonmodels: L, size of a set.
        key: secret key; draws cannot be predicted without it.
        shared: result of `share_draws` for the training records, with the same K and key.
    """
    n = count_rows(X)
    draws = np.empty((n, n_submodels), dtype=np.uint64)
    for i, digest in enumerate(_digests(X, n_submodels, key)):
        draws[i] = np.frombuffer(shared.get(digest[:_START], digest), dtype="<u8")
    return l_of_k(draws.argsort(axis=1, kind="stable"), n_nonmodels)


def share_draws(
    X: Any,
    subjects: Int64[np.ndarray, " n"] | None,
    *,
    n_submodels: int,
    key: bytes,
    near_duplicates: NearDuplicates = "exact",
) -> dict[bytes, bytes]:
    """Return shared draws of records that are linked by subject, equal content or as near copies.

    Linked records share the draw of the smallest digest, so the order of records does not matter.
    The result holds only records with another digest than that.

    Args:
        X: the n training records.
        subjects: number of each record's subject, negative for a record without one, or None.
        n_submodels: K, number of sub-models.
        key: see `draw_non_models`.
        near_duplicates: which records are near copies.
    """
    if subjects is None and near_duplicates == "exact":
        return {}
    digests = list(_digests(X, n_submodels, key))
    # Numbered by digest, so that the order of records does not matter.
    starts = np.array([digest[:_START] for digest in digests], dtype=f"S{_START}")
    contents = np.unique(starts, return_inverse=True)[1].astype(np.int64)
    units = contents if subjects is None else join_subjects(contents, subjects)
    linked = join_near(X, contents, units, near_duplicates).tolist()
    least: dict[int, bytes] = {}
    for number, digest in zip(linked, digests, strict=True):
        least[number] = min(digest, least.get(number, digest))
    return {
        digest[:_START]: least[number]
        for number, digest in zip(linked, digests, strict=True)
        if least[number] != digest
    }


def _digests(X: Any, n_submodels: int, key: bytes) -> Iterator[bytes]:
    """Yield 8 x K bytes per record, drawn by key and content."""
    for content in row_bytes(X):
        yield shake_128(key + content).digest(8 * n_submodels)
