"""Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selena.data.cells import shown
from selena.data.table_file import Cells, join_words, place_of
from selena.errors import DataError
from selena.reading import border, check_limit, check_unpacked

_NO_PARQUET = "this is no Parquet file, or a damaged one"
_ROWS = 1 << 16  # read at once


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; see `TableFile`. Rows are counted from 1.

    Attributes:
        path: the file.
        names: of all columns, in order.
        schema: their types, by Arrow.
        count: number of rows.
    """

    path: Path
    names: tuple[str, ...]
    schema: Any
    count: int

    @classmethod
    def open(cls, path: Path) -> ParquetFile:
        """Read names and types of the columns.

        Raises:
            DataError: the file is damaged or has too many rows.
        """
        from pyarrow import parquet

        with border(path, _NO_PARQUET), parquet.ParquetFile(path) as file:
            count = file.metadata.num_rows
            schema = file.schema_arrow
        if count < 0:
            raise DataError(f"{path}: {_NO_PARQUET} ({count} rows).")
        check_limit(path, "rows", count, "it has")
        return cls(path, tuple(map(str, schema.names)), schema, count)

    def read(
        self, numbers: Sequence[int], words: Sequence[int], kind: type[np.floating[Any]]
    ) -> Cells:
        """See `TableFile`."""
        from pyarrow import parquet

        for place in (*numbers, *words):
            self._check_column(place, place in numbers)
        if numbers and all(_is_single(self.schema.field(place).type) for place in numbers):
            kind = np.float32
        size = self.count * (len(numbers) * np.dtype(kind).itemsize + 8 * len(words))
        check_unpacked(self.path, size, self.path.stat().st_size, "its table")
        matrix = np.empty((self.count, len(numbers)), dtype=kind)
        found: list[list[NDArray[Any]]] = [[] for _ in words]
        names = [self.names[place] for place in (*numbers, *words)]
        # A long text that all rows share is one entry of a dictionary, and not so many texts.
        texts = [self.names[place] for place in words if _is_text(self.schema.field(place).type)]
        with (
            border(self.path, _NO_PARQUET),
            parquet.ParquetFile(self.path, read_dictionary=texts) as file,
        ):
            start = 0
            for batch in file.iter_batches(_ROWS, columns=names):
                end = start + batch.num_rows
                for place, name in enumerate(names):
                    column = batch.column(name)
                    self._refuse_missing(column, name, start)
                    values = _values(column)
                    if place < len(numbers):
                        with np.errstate(over="ignore"):  # refused with its row later
                            matrix[start:end, place] = values
                    else:
                        found[place - len(numbers)].append(values)
                start = end
            if start != self.count:
                raise DataError(f"{self.path}: {_NO_PARQUET} ({start:,} rows).")
        return Cells(matrix, [self._joined(part) for part in found], lambda index: index + 1)

    def _joined(self, parts: list[NDArray[Any]]) -> NDArray[Any]:
        if not parts or parts[0].dtype == object:
            return join_words(parts, str(self.path))
        return np.concatenate(parts)

    def _check_column(self, place: int, numeric: bool) -> None:
        from pyarrow import types

        name, kind = self.names[place], self.schema.field(place).type
        place_of(self.names, name, self.path, "Name each once.")
        value = kind.value_type if types.is_dictionary(kind) else kind
        number = types.is_boolean(value) or types.is_integer(value) or types.is_floating(value)
        if number or types.is_null(value) or (_is_text(value) and not numeric):
            return
        where = f"{self.path}, column {name!r}"
        if numeric:
            raise DataError(
                f"{where}, row 1: holds {kind}{self._first(name)}, not numbers. Encode categories "
                "(one-hot) or drop the column."
            )
        raise DataError(f"{where}: holds {kind}, not labels or subjects. Give integers or strings.")

    def _first(self, name: str) -> str:
        """Return the first value of a column, for a message."""
        from pyarrow import parquet

        with border(self.path, _NO_PARQUET), parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(1, columns=[name]):
                return f" ({shown(batch.column(name)[0].as_py())})"
        return ""

    def _refuse_missing(self, column: Any, name: str, start: int) -> None:
        if column.null_count:
            row = start + column.is_null().to_pylist().index(True) + 1
            raise DataError(
                f"{self.path}, column {name!r}, row {row}: the value is missing. Fill such cells "
                "in or drop the rows."
            )


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_single(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_float32(kind) or types.is_float16(kind))


def _values(column: Any) -> NDArray[Any]:
    """Return a column as NumPy's numbers or truth values, or as Python's text."""
    from pyarrow import types

    if types.is_dictionary(column.type):  # pandas' categories
        entries = column.dictionary.to_pylist()
        kind = object if _is_text(column.type) else None
        decoded: NDArray[Any] = np.array(entries, kind)[column.indices.to_numpy()]
        return decoded
    if _is_text(column.type):
        return np.array(column.to_pylist(), object)
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
