"""Parquet files, read by Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selena.data.table_file import Cells, TableFile, is_text, place_of
from selena.errors import DataError
from selena.files.reading import border, check_limit, check_unpacked

_NO_PARQUET = "this is no Parquet file, or a damaged one"
_ROWS = 1 << 16  # read at once
_COLUMNS = 32  # read at once: Arrow decodes some megabytes of each
_BUFFER = 1 << 16  # bytes of each column's file
_PASSES = 32  # limit, because each pass reads names and types of all columns again


@dataclass(frozen=True)
class ParquetFile(TableFile):
    """A Parquet file; rows are counted from 1.

    Attributes:
        schema: Arrow's types of the columns.
        count: number of rows.
    """

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

    def row(self, index: int) -> int:
        """Return the number of a record's row, counted from 1."""
        return index + 1

    def read(
        self,
        numbers: Sequence[int],
        words: Sequence[int],
        kind: type[np.floating[Any]],
        gaps: Sequence[int] = (),
    ) -> Cells:
        """See `TableFile`."""
        from pyarrow import types

        for place in (*numbers, *words):
            self._check_column(place, place in numbers)
        kinds = [self.schema.field(place).type for place in numbers]
        if kinds and all(types.is_float32(each) or types.is_float16(each) for each in kinds):
            kind = np.float32
        size = self.count * (len(numbers) * np.dtype(kind).itemsize + 8 * len(words))
        check_unpacked(self.path, size, self.path.stat().st_size, "its table")
        most = max(_COLUMNS, -(-len(numbers) // _PASSES))
        if len(numbers) <= most:
            return super().read(numbers, words, kind, gaps)
        table = np.empty((self.count, len(numbers)), kind)
        for first in range(0, len(numbers), most):
            part = slice(first, first + most)
            table[:, part] = super().read(numbers[part], (), kind).numbers
        return Cells(table, super().read((), words, kind, gaps).words)

    def texts(self, places: Sequence[int]) -> list[int]:
        """See `TableFile`."""
        texts = [place for place in places if is_text(self.schema.field(place).type)]
        for place in texts:
            self._check_column(place, False)
        return super().texts(texts) if texts else []

    def _batches(self, numbers: Sequence[int], words: Sequence[int]) -> Iterator[Any]:
        from pyarrow import parquet

        names = [self.names[place] for place in (*numbers, *words)]
        # As a dictionary, a long text that all rows share is stored once, not once per row.
        texts = [name for name in names if is_text(self.schema.field(name).type)]
        rows = 0
        with (
            border(self.path, _NO_PARQUET),
            parquet.ParquetFile(
                self.path, read_dictionary=texts, buffer_size=_BUFFER, pre_buffer=False
            ) as file,
        ):
            for batch in file.iter_batches(_ROWS, columns=names):
                rows += batch.num_rows
                yield batch.select(names)
            if rows != self.count:
                raise DataError(f"{self.path}: {_NO_PARQUET} ({rows:,} rows).")

    def _check_column(self, place: int, numeric: bool) -> None:
        from pyarrow import types

        name, kind = self.names[place], self.schema.field(place).type
        place_of(self.names, name, self.path, "Name each once.")
        value = kind.value_type if types.is_dictionary(kind) else kind
        number = types.is_boolean(value) or types.is_integer(value) or types.is_floating(value)
        if number or types.is_null(value) or (is_text(value) and not numeric):
            return
        wanted, fix = "labels or subjects", "Give integers or strings."
        if numeric:
            wanted, fix = "numbers", "Encode categories (one-hot) or drop the column."
        raise DataError(f"{self.path}, column {name!r}: holds {kind}, not {wanted}. {fix}")
