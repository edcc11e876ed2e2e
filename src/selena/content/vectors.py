"""Records as vectors whose distances measure how much two records differ.

The kind of a column decides what it adds to the squared distance. A column of two values or of
words adds 1 if the records differ. A column of numbers adds the squared difference in standard
deviations. A column of texts adds up to 1 for shingles that differ. Records of bits have the
Hamming distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from scipy import sparse
from torch import Tensor

from selena.content.digests import digests, number_contents
from selena.content.rows import columns_of
from selena.training.batches import in_chunks

_CHUNK = 4096
_LONG = 24  # average number of characters from which a column of words counts as texts
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, eq=False)
class Vectors:
    """n records that are turned into float32 vectors block by block.

    Attributes:
        values: n x p numbers, an array or a CSR matrix.
        center: subtracted from each column; zeros for a sparse matrix.
        scale: factor of each column, after that.
        gaps: columns in which values are missing; a missing value equals no other value.
        bits: whether all columns hold two values: the distance is then the Hamming distance,
            otherwise the Euclidean one.
    """

    values: Any
    center: Float64[np.ndarray, " p"]
    scale: Float64[np.ndarray, " p"]
    gaps: Int64[np.ndarray, " m"]
    bits: bool

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """Number of columns of the vectors."""
        return int(self.values.shape[1]) + len(self.gaps)

    def take(self, rows: Int64[np.ndarray, " m"]) -> Vectors:
        """Return the records at `rows`, in that order."""
        return replace(self, values=self.values[rows])

    def rows(self, which: slice | Int64[np.ndarray, " m"]) -> Any:
        """Return some vectors in float32, dense or CSR like the records."""
        part = self.values[which]
        if _is_sparse(part):
            return part.multiply(self.scale[None]).tocsr().astype(np.float32)
        if self.bits and not len(self.gaps):
            return (part != self.center).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = (part.astype(np.float64) - self.center) * self.scale
        missing = ~np.isfinite(vectors)
        vectors[missing] = 0.0
        return np.hstack([vectors, missing[:, self.gaps]]).astype(np.float32)


def _is_sparse(values: Any) -> bool:
    return bool(sparse.issparse(values))  # bool: SciPy's type guard would hide methods from mypy


def vectors_of(x: Any) -> Vectors:
    """Return records as vectors.

    Args:
        x: n records: a tensor or an array of any shape, a sparse matrix, a frame, or a list; NaN
            and infinite numbers are missing.

    Raises:
        DataError: a record holds what cannot be compared.
    """
    if isinstance(x, Tensor):
        x = x.detach().cpu().numpy()
    if sparse.issparse(x):
        return _of_sparse(x)
    if not (isinstance(x, np.ndarray) and x.dtype.kind in "buif"):
        return _of_columns(columns_of(x))
    return _of_numbers(x.reshape(len(x), -1))


def _of_numbers(values: np.ndarray) -> Vectors:
    # Moments are computed per block, so memory stays bounded and large offsets lose no digits.
    low, high, total, count = _ranges(values)
    center = np.clip(total / np.maximum(count, 1), low, high)
    spread = np.zeros(values.shape[1])
    two = np.ones(values.shape[1], dtype=bool)
    for part in in_chunks(len(values), _CHUNK):
        block = values[part].astype(np.float64, copy=False)
        finite = np.isfinite(block)
        with np.errstate(over="ignore", invalid="ignore"):
            spread += np.where(finite, np.square(block - center), 0.0).sum(axis=0)
        two &= (~finite | (block == low) | (block == high)).all(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.where(high > low, high - low, 1.0)
        std = np.sqrt(spread / np.maximum(count, 1))
    std = np.where(np.isfinite(std) & (std > 0), std, width)
    gaps = np.flatnonzero(count < len(values))
    return Vectors(
        values,
        np.where(two, low, center),
        1.0 / np.where(two, width, std),
        gaps.astype(np.int64),
        bool(two.all()),
    )


def _ranges(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return minimum, maximum, sum and number of each column's finite values."""
    p = values.shape[1]
    low, high = np.full(p, np.inf), np.full(p, -np.inf)
    total, count = np.zeros(p), np.zeros(p, dtype=np.int64)
    for part in in_chunks(len(values), _CHUNK):
        block = values[part].astype(np.float64, copy=False)
        finite = np.isfinite(block)
        low = np.minimum(low, np.where(finite, block, np.inf).min(axis=0))
        high = np.maximum(high, np.where(finite, block, -np.inf).max(axis=0))
        with np.errstate(over="ignore"):
            total += np.where(finite, block, 0.0).sum(axis=0)
        count += finite.sum(axis=0)
    known = count > 0
    return np.where(known, low, 0.0), np.where(known, high, 0.0), total, count


def _of_sparse(x: Any) -> Vectors:
    """Return the rows of a sparse matrix; nothing is subtracted, so that zeros stay zeros."""
    values = sparse.csr_array(x, dtype=np.float64, copy=True)
    values.sum_duplicates()
    values.eliminate_zeros()
    values.data[~np.isfinite(values.data)] = 0.0
    p = values.shape[1]
    if len(values.data) and bool((values.data == values.data[0]).all()):
        return Vectors(
            values, np.zeros(p), np.full(p, 1.0 / values.data[0]), np.zeros(0, np.int64), bits=True
        )
    n = max(1, values.shape[0])
    mean = np.asarray(values.sum(axis=0)).ravel() / n
    squares = np.asarray(values.multiply(values).sum(axis=0)).ravel() / n
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    scale = 1.0 / np.where(std > 0, std, 1.0)
    return Vectors(values, np.zeros(p), scale, np.zeros(0, np.int64), bits=False)


def _of_columns(columns: Sequence[Any]) -> Vectors:
    split = [(_as_numbers(column), column) for column in columns]
    numbers = [found for found, _ in split if found is not None]
    dense = [_of_numbers(np.stack(numbers, axis=1))] if numbers else []
    if len(numbers) == len(columns):
        return dense[0]
    parts = [sparse.csr_array(each.rows(slice(None))) for each in dense]
    parts += [_of_words(list(column)) for found, column in split if found is None]
    joined: Any = sparse.hstack(parts, format="csr")
    values: Any = sparse.csr_array(joined.astype(np.float64))
    p = values.shape[1]
    return Vectors(values, np.zeros(p), np.ones(p), np.zeros(0, np.int64), bits=False)


def _as_numbers(column: Any) -> Float64[np.ndarray, " n"] | None:
    """Return a column of numbers, NaN where one is missing; None for any other column."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "buif":
        return column.astype(np.float64)
    if all(each is None or isinstance(each, Real) for each in column):
        return np.array([np.nan if each is None else float(each) for each in column])
    return None


def _of_words(column: list[Any]) -> sparse.csr_array:
    """Return a column of texts as shingles, a column of other values as one-hot columns."""
    if all(isinstance(each, str) for each in column) and sum(map(len, column)) > _LONG * len(
        column
    ):
        from sklearn.feature_extraction.text import HashingVectorizer

        # Shingles are runs of 3 to 5 characters; the vector of a text has length 1.
        shingles = HashingVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), n_features=2**18, alternate_sign=False
        )
        return sparse.csr_array(shingles.transform(column) * 0.5**0.5)
    codes = number_contents(digests(column))
    n = len(codes)
    return sparse.csr_array(
        (np.full(n, 0.5**0.5), (np.arange(n), codes)), shape=(n, int(codes.max()) + 1)
    )


def squared_distances(
    vectors: Vectors, first: Int64[np.ndarray, " m"], second: Int64[np.ndarray, " m"]
) -> Float64[np.ndarray, " m"]:
    """Return the squared Euclidean distance of each pair of rows, computed from differences."""
    found = np.empty(len(first))
    for part in in_chunks(len(first), _CHUNK):
        gap = vectors.rows(first[part]) - vectors.rows(second[part])
        squares = gap.multiply(gap) if _is_sparse(gap) else np.square(gap, dtype=np.float64)
        found[part] = np.asarray(squares.sum(axis=1)).ravel()
    return found


def as_pixels(x: Any) -> Tensor:
    """Return images as float32 in [0, 1], n x height x width: the mean of their channels.

    Args:
        x: n x channels x height x width, or with the channels last, uint8 or float.
    """
    pixels = x if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x))
    if pixels.shape[1] not in _CHANNELS and pixels.shape[-1] in _CHANNELS:
        pixels = pixels.movedim(-1, 1)
    scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
    return pixels.detach().cpu().to(torch.float32).mean(dim=1) / scale
