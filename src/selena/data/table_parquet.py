"""Parquet files: a column of labels, maybe one of groups, all others numbers.

Needs the optional pyarrow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from selena.data.table import Columns, Table
from selena.errors import ConfigError, DataError


def read_parquet(path: Path, label_column: str, group_column: str | None = None) -> Table:
    """Read a Parquet file; rows are counted from 1.

    Raises:
        DataError: if it is damaged, a named column is missing, or a column holds anything but
            numbers or has missing values.
        ConfigError: if pyarrow is not installed.
    """
    frame = read_frame(path)
    names = [name for name in frame.column_names if not name.startswith("__index_level_")]
    columns = Columns.find(names, label_column, group_column, path)
    features = np.empty((frame.num_rows, len(columns.features)), dtype=np.float32)
    for column, name in enumerate(columns.feature_names):
        features[:, column] = _numbers(frame[name], f"{path}, column {name!r}")
    return Table(
        path=path,
        features=features,
        labels=_words(frame[label_column], f"{path}, column {label_column!r}"),
        columns=columns.feature_names,
        rows=np.arange(1, frame.num_rows + 1),
        groups=None
        if group_column is None
        else _words(frame[group_column], f"{path}, column {group_column!r}"),
    )


def read_frame(path: Path) -> Any:
    """Return a Parquet file as a pyarrow Table.

    Raises:
        DataError: if it is damaged.
        ConfigError: if pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow. Install it with "
            'pip install "selena-privacy[parquet]".'
        ) from error
    try:
        # ParquetFile and not read_table, which would make columns of a folder's name.
        with parquet.ParquetFile(path) as file:
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: this is no Parquet file, or a damaged one ({error}).") from error


def _refuse_missing(column: Any, where: str) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True) + 1
        raise DataError(
            f"{where}, row {row}: the value is missing ({column.null_count} such rows). Fill them "
            "in or drop the rows."
        )


def _numbers(column: Any, where: str) -> Float32[np.ndarray, " n"]:
    from pyarrow import types

    _refuse_missing(column, where)
    kind = column.type
    if not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
        first = column[0].as_py() if len(column) else None
        raise DataError(
            f"{where}, row 1: holds {kind} ({first!r}), not numbers. Encode categories (one-hot) "
            "or drop the column."
        )
    with np.errstate(over="ignore"):  # what is infinite is refused with its row later
        numbers: Float32[np.ndarray, " n"] = column.to_numpy().astype(np.float32)
    return numbers


def _words(column: Any, where: str) -> np.ndarray:
    from pyarrow import types

    _refuse_missing(column, where)
    if types.is_dictionary(column.type):  # pandas' categories
        column = column.cast(column.type.value_type)
    values = column.to_numpy()
    if values.dtype == object:
        values = values.astype(np.str_)
    if values.dtype.kind not in "buifU":
        raise DataError(
            f"{where}: holds {column.type}, not labels or groups. Give integers or strings."
        )
    return np.asarray(values)
