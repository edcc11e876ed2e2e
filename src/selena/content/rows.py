"""Records of any kind as bytes for a draw: numbers in float32, then all other values.

A frame, an array of objects and a list of rows are read cell by cell. So a record has the same
bytes in a pandas frame, in a polars frame and, if it has only numbers, in an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float32
from scipy import sparse
from torch import Tensor

from selena.content.digests import digests
from selena.training.batches import in_chunks

_CHUNK = 4096
_MISSING = digests([None])[0]

Column = tuple[Float32[np.ndarray, " n"], dict[int, bytes]]
"""Numbers of a column (NaN for other values), and digests of the other values by row."""


def count_rows(X: Any) -> int:
    """Return the number of records."""
    if isinstance(X, Mapping):
        return count_rows(next(iter(X.values())))
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def row_bytes(X: Any) -> Iterator[bytes]:
    """Yield bytes for each record, the same for records of equal content.

    Numbers that agree in float32 are equal, and so are -0.0 and 0.0, and all kinds of missing
    values. Other values are compared as in `selena.content.digests`.

    Args:
        X: n records: an array of any shape, a sparse matrix, a pandas or polars frame or series, a
            list, or a dictionary of these, one per input.

    Raises:
        DataError: a record holds a value that cannot be compared.
    """
    if isinstance(X, Mapping):  # several inputs per record
        for parts in zip(*(row_bytes(X[name]) for name in sorted(X)), strict=True):
            yield b"".join(b"%d:" % len(part) + part for part in parts)
        return
    if sparse.issparse(X) or (isinstance(X, np.ndarray) and X.dtype.kind in "buifc"):
        rows: Any = X
        for part in in_chunks(count_rows(X), _CHUNK):
            some = rows[part]
            yield from _canonical(some if sparse.issparse(X) else some.reshape(len(some), -1))
        return
    if isinstance(X, Tensor):
        yield from row_bytes(X.detach().cpu().float().numpy())
        return
    columns = [_column(column) for column in columns_of(X)]
    numbers = np.stack([column for column, _ in columns], axis=1)
    others = [(b"%d:" % place, found) for place, (_, found) in enumerate(columns) if found]
    for part in in_chunks(len(numbers), _CHUNK):
        for row, content in enumerate(_canonical(numbers[part]), start=part.start):
            texts = b"".join(name + found[row] for name, found in others if row in found)
            yield content + texts


def _canonical(X: Any) -> Iterator[bytes]:
    """Yield equal bytes for equal rows of numbers: float32, sorted, no zeros."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        rows = sparse.csr_array(X, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.indices = rows.indices.astype(np.int64)
    rows.data[np.isnan(rows.data)] = np.nan  # one of many bit patterns
    for i in range(rows.shape[0]):
        inside = slice(rows.indptr[i], rows.indptr[i + 1])
        yield rows.indices[inside].tobytes() + rows.data[inside].tobytes()


def columns_of(X: Any) -> list[Any]:
    """Return the columns of records: arrays of numbers, or sequences of any values."""
    if hasattr(X, "iloc"):
        whole = X.to_frame() if X.ndim == 1 else X
        columns = [whole.iloc[:, i] for i in range(whole.shape[1])]
        return [
            each.to_numpy(dtype=np.float64, na_value=np.nan)
            if each.dtype.kind in "buif"
            else each.to_numpy(dtype=object)
            for each in columns
        ]
    if hasattr(X, "to_arrow"):
        whole = X.get_columns() if hasattr(X, "get_columns") else [X]
        return [
            np.asarray(each.cast(float).to_numpy())
            if each.dtype.is_numeric() or str(each.dtype) == "Boolean"
            else each.to_list()
            for each in whole
        ]
    if isinstance(X, np.ndarray):
        return list(X.T) if X.ndim == 2 else [X]
    rows = list(X)
    widths = {len(row) if isinstance(row, list | tuple) else -1 for row in rows}
    return [*zip(*rows, strict=True)] if widths != {-1} and len(widths) == 1 else [rows]


def _column(values: Any) -> Column:
    if isinstance(values, np.ndarray) and values.dtype.kind in "buif":
        with np.errstate(over="ignore"):
            return values.astype(np.float32), {}
    numbers = np.full(len(values), np.nan, dtype=np.float32)
    rows = []
    with np.errstate(over="ignore"):
        for row, value in enumerate(values):
            if isinstance(value, Real | np.bool_):
                numbers[row] = np.float64(value)
            else:
                rows.append(row)
    keys = digests([values[row] for row in rows])
    return numbers, {row: key for row, key in zip(rows, keys, strict=True) if key != _MISSING}
