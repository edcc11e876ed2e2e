"""Digests of records of any kind; an unknown kind of value is an error, never a guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import singledispatch
from hashlib import blake2b
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
import torch
from jaxtyping import Int64
from scipy import sparse
from torch import Tensor

from selena.errors import DataError
from selena.training.batches import in_chunks

_CHUNK = 4096
_DIGEST_BYTES = 16
_EXACT = 2**53  # float64 holds every integer up to here
_MISSING = b"-"
_MOST_DIMENSIONS = 64  # of a NumPy array


class _CannotCompareError(Exception):
    """Says what cannot be compared."""


def digests(records: Any, name: Callable[[int], str] = "record {}".format) -> list[bytes]:
    """Return 16 bytes for each record, the same for records of equal content.

    Numbers in an array, a column or a sparse matrix are compared in their type. Elsewhere 1, 1.0
    and True are equal, and an array equals a list of its numbers. -0.0 equals 0.0; NaN, None, NaT
    and NA are equal. Images of Pillow are compared by pixels, mode and palette.

    Args:
        records: an array, tensor, sparse matrix, frame, series, any sequence, or a dictionary of
            these, one per input of a model.
        name: maps a row number to the record's name in messages.

    Raises:
        DataError: a record holds a value of an unknown kind.
    """
    if isinstance(records, Mapping):  # several inputs per record
        named = sorted((str(key), digests(part, name)) for key, part in records.items())
        prefix = _digest([key for key, _ in named])
        rows = zip(*(part for _, part in named), strict=True)
        return [_hashed(prefix + b"".join(parts)) for parts in rows]
    if isinstance(records, Tensor):
        records = _from_torch(records)
    if sparse.issparse(records):
        return [_hashed(row) for row in _sparse_rows(records)]
    if hasattr(records, "iloc") or hasattr(records, "to_arrow"):
        return _of_columns(_columns(records), name)
    if isinstance(records, np.ndarray) and records.dtype.names:
        return _of_columns([records[field] for field in records.dtype.names], name)
    if isinstance(records, np.ndarray) and _is_plain(records.dtype):
        return [_hashed(row.tobytes()) for row in _rows(records)]
    return _each(records, name)


def number_contents(keys: Sequence[Any]) -> Int64[np.ndarray, " n"]:
    """Return the number of each key's content, from 0 in the order of first appearance."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _hashed(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _each(values: Any, name: Callable[[int], str]) -> list[bytes]:
    """Return the digests of values of any kind; equal texts are digested once."""
    texts: dict[str, bytes] = {}
    found = []
    for row, value in enumerate(values):
        known = texts.get(value) if type(value) is str else None
        if known is None:
            try:
                known = _digest(value)
            except (_CannotCompareError, RecursionError) as error:
                what = str(error) if isinstance(error, _CannotCompareError) else "itself"
                raise DataError(
                    f"{name(row)} holds {what}, which cannot be compared by content. Give numbers, "
                    "texts, arrays, images, or lists and dictionaries of these, and convert them "
                    "to the model's own objects in a function around the model."
                ) from error
            if type(value) is str:
                texts[value] = known
        found.append(known)
    return found


def _of_columns(columns: Sequence[Any], name: Callable[[int], str]) -> list[bytes]:
    parts = []
    for column in columns:
        if isinstance(column, np.ndarray) and _is_plain(column.dtype):
            rows = np.ascontiguousarray(np.stack(list(_rows(column))))
            parts.append(rows.view(np.uint8))
        else:
            each = b"".join(_each(column, name))
            parts.append(np.frombuffer(each, dtype=np.uint8).reshape(-1, _DIGEST_BYTES))
    return [_hashed(row.tobytes()) for row in np.concatenate(parts, axis=1)]


def _columns(frame: Any) -> list[Any]:
    """Return the columns of a frame or series: arrays of numbers and times, or any values."""
    if hasattr(frame, "iloc"):
        whole = frame.to_frame() if frame.ndim == 1 else frame
        columns = [whole.iloc[:, i] for i in range(whole.shape[1])]
        arrays = [column.to_numpy() for column in columns]
        return [
            array if array.dtype.kind in "biufcmM" else column.to_numpy(dtype=object)
            for array, column in zip(arrays, columns, strict=True)
        ]
    whole = frame.get_columns() if hasattr(frame, "get_columns") else [frame]
    # As one of Python's own types, a time would lose its nanoseconds.
    plain = [each.to_physical() if each.dtype.is_temporal() else each for each in whole]
    return [
        each.to_numpy() if each.dtype.is_numeric() and not each.has_nulls() else each.to_list()
        for each in plain
    ]


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Return whether equal values of a type have equal bytes, except zeros and NaN."""
    padded = dtype.kind in "fc" and dtype.itemsize not in (2, 4, 8, 16 if dtype.kind == "c" else 8)
    return dtype.kind in "biufcmMSU" and not padded


def _rows(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each record of a plain array, flat; equal records have equal bytes."""
    for part in in_chunks(len(values), _CHUNK):
        rows = values[part].reshape(len(values[part]), -1)
        if rows.dtype.kind in "fc":
            rows = rows + rows.dtype.type(0)  # -0.0 becomes 0.0
            rows[np.isnan(rows)] = np.nan  # one of many bit patterns
        if rows.dtype.kind in "mM":
            rows = rows.view(np.int64)
        yield from np.ascontiguousarray(rows)


def _sparse_rows(matrix: Any) -> Iterator[bytes]:
    rows: Any = sparse.csr_array(matrix, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    indices = rows.indices.astype(np.int64)
    for i in range(rows.shape[0]):
        inside = slice(*rows.indptr[i : i + 2])
        yield indices[inside].tobytes() + rows.data[inside].tobytes()


def _from_torch(tensor: Tensor) -> Any:
    """Return a tensor as an array; of two sparse dimensions as a sparse matrix."""
    tensor = tensor.detach().cpu()
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout != torch.strided:
        tensor = tensor.to_sparse_coo().coalesce()
        if tensor.sparse_dim() == tensor.ndim == 2:
            places, values = tensor.indices().numpy(), _from_torch(tensor.values())
            return sparse.coo_array((values, (places[0], places[1])), shape=tuple(tensor.shape))
        tensor = tensor.to_dense()
    if tensor.is_floating_point() and tensor.dtype.itemsize < 4 and tensor.dtype != torch.float16:
        tensor = tensor.float()  # NumPy has no bfloat16; float32 holds all its values exactly
    return tensor.resolve_conj().resolve_neg().numpy()


def _digest(value: Any) -> bytes:
    return _hashed(_encode(value))


@singledispatch
def _encode(value: Any) -> bytes:
    """Return bytes that only equal values share; they begin with a letter for the kind."""
    if value is None or type(value).__name__ == "NAType":
        return _MISSING
    if sparse.issparse(value):
        dense: Any = value
        return _encode(dense.toarray())
    if hasattr(value, "iloc") or hasattr(value, "to_arrow"):
        names = [*getattr(value, "columns", [""])]
        return b"f" + _digest([*map(str, names)]) + b"".join(map(_digest, _columns(value)))
    if hasattr(value, "getpalette") and hasattr(value, "tobytes"):  # of Pillow
        told = [value.mode, list(value.size), value.getpalette(), value.tobytes()]
        return b"p" + _digest(told)
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        return b"o" + _digest([type(value).__qualname__, held])
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.ndim or array.dtype != object:
            return _encode(array)
    raise _CannotCompareError(f"a {type(value).__module__}.{type(value).__qualname__}")


@_encode.register(str)
def _(value: str) -> bytes:
    return b"s" + value.encode("utf-8", "surrogatepass")


@_encode.register(bytes)
@_encode.register(bytearray)
@_encode.register(memoryview)
def _(value: bytes | bytearray | memoryview) -> bytes:
    return b"b" + bytes(value)


@_encode.register(int)
@_encode.register(float)
@_encode.register(complex)
@_encode.register(Decimal)
@_encode.register(Fraction)
@_encode.register(np.number)
@_encode.register(np.bool_)
def _(value: Any) -> bytes:
    if value != value:  # noqa: PLR0124 - NaN
        return _MISSING
    if isinstance(value, complex | np.complexfloating):
        if value.imag != 0:
            return b"c" + _digest(value.real) + _digest(value.imag)
        value = value.real
    if isinstance(value, np.integer | np.bool_):
        value = int(value)
    try:
        return b"n%d/%d" % value.as_integer_ratio()
    except OverflowError:  # infinite
        return b"n" + str(float(value)).encode()


@_encode.register(np.datetime64)
@_encode.register(np.timedelta64)
def _(value: Any) -> bytes:
    if np.isnat(value):
        return _MISSING
    fine = value.astype(f"{value.dtype.kind}8[ns]")
    same = fine.astype(value.dtype) == value  # it is within nanoseconds' range
    number, unit = (fine, value.dtype.kind) if same else (value, str(value.dtype))
    return f"t{unit}{number.astype(np.int64)}".encode()


@_encode.register(date)
@_encode.register(time)
def _(value: Any) -> bytes:
    if value != value:  # noqa: PLR0124 - NaT of pandas
        return _MISSING
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return b"T" + str(value.isoformat()).encode()


@_encode.register(timedelta)
def _(value: timedelta) -> bytes:
    fine = getattr(value, "nanoseconds", 0)
    return f"e{value.days},{value.seconds},{value.microseconds},{fine}".encode()


@_encode.register(Enum)
@_encode.register(PurePath)
@_encode.register(UUID)
def _(value: Any) -> bytes:
    return b"w" + _digest([type(value).__qualname__, str(value)])


@_encode.register(Tensor)
def _(value: Tensor) -> bytes:
    return _encode(_from_torch(value))


@_encode.register(np.ndarray)
def _(values: Any) -> bytes:
    if values.ndim == 0:
        return _encode(values[()])
    if _are_exact(values):
        (flat,) = _rows(values.astype(np.float64)[None])
        return b"v%b:%b" % (str(values.shape).encode(), flat.tobytes())
    return b"l" + b"".join(map(_digest, values))


@_encode.register(np.void)
def _(value: np.void) -> bytes:
    if value.dtype.names is None:
        return _encode(value.tobytes())
    return _encode({name: value[name] for name in value.dtype.names})


@_encode.register(Sequence)
def _(values: Sequence[Any]) -> bytes:
    array = _numbers_alone(values)
    return b"l" + b"".join(map(_digest, values)) if array is None else _encode(array)


@_encode.register(Mapping)
def _(values: Mapping[Any, Any]) -> bytes:
    return b"d" + b"".join(sorted(_digest(key) + _digest(each) for key, each in values.items()))


@_encode.register(Set)
def _(values: Set[Any]) -> bytes:
    return b"u" + b"".join(sorted(map(_digest, values)))


def _numbers_alone(values: Sequence[Any]) -> np.ndarray | None:
    """Return a list of numbers, or of equal-length lists of them, as an array; else None."""
    first: Any = values
    for _ in range(_MOST_DIMENSIONS):  # a list may hold itself
        if isinstance(first, list | tuple) and first:
            first = first[0]
    if not isinstance(first, bool | int | float | list | tuple | range):
        return None
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):  # of unequal lengths
        return None
    return array if _are_exact(array) else None


def _are_exact(values: Any) -> bool:
    """Return whether values are numbers that float64 holds exactly, and none is missing."""
    if values.dtype.kind not in "biuf" or not _is_plain(values.dtype):
        return False
    numbers = values.astype(np.float64)
    return bool((np.isinf(numbers) | (np.abs(numbers) < _EXACT)).all())
