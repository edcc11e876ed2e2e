"""Files of named columns; errors in a cell name the file, the row and the column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selena.data.cells import as_number, listed, shown
from selena.errors import DataError
from selena.files.reading import check_limit


@dataclass(frozen=True, eq=False)
class Cells:
    """Values of some columns.

    Attributes:
        numbers: one row per record, one column per column of numbers.
        words: one array per column that may hold words: text (stripped, from a CSV file), or
            numbers or truth values (from a Parquet file).
    """

    numbers: NDArray[Any]
    words: list[NDArray[Any]]


@dataclass(frozen=True)
class TableFile(ABC):
    """A file of named columns.

    Attributes:
        path: the file.
        names: names of all columns, in order.
    """

    path: Path
    names: tuple[str, ...]

    @abstractmethod
    def row(self, index: int) -> int:
        """Return the row number of a record in the file."""

    @abstractmethod
    def _batches(self, numbers: Sequence[int], words: Sequence[int]) -> Iterator[Any]:
        """Yield Arrow's batches of these columns, in this order; cells are text or numbers."""

    def read(
        self,
        numbers: Sequence[int],
        words: Sequence[int],
        kind: type[np.floating[Any]],
        gaps: Sequence[int] = (),
    ) -> Cells:
        """Return the cells of the columns at these places; other columns are not checked.

        Args:
            numbers: columns that must hold numbers (true and false are 1 and 0).
            words: columns that may hold any values, but no missing ones.
            kind: type of the numbers; float32 for a Parquet file with nothing more precise.
            gaps: columns among `words`, all of text, where empty cells are allowed and become "".

        Raises:
            DataError: a cell is missing or no number, the rows differ in length, or the file is
                damaged.
        """
        table = np.empty((0, len(numbers)), kind)
        found: list[list[NDArray[Any]]] = [[] for _ in words]
        start = 0
        for batch in self._batches(numbers, words):
            columns = [
                _filled(column) if place in gaps else column
                for place, column in zip([*numbers, *words], batch.columns, strict=True)
            ]
            for place, column in zip([*numbers, *words], columns, strict=True):
                self._refuse_missing(column, place, start)
            # Grown in place: joining the parts at the end would need twice the memory.
            table.resize((start + batch.num_rows, len(numbers)), refcheck=False)
            with np.errstate(over="ignore"):  # infinite values are refused later, with their row
                for i, place in enumerate(numbers):
                    table[start:, i] = self._numbers(columns[i], place, start)
            for part, column in zip(found, columns[len(numbers) :], strict=True):
                part.append(_decoded(column))
            start += batch.num_rows
        return Cells(table, [self._joined(part) for part in found])

    def texts(self, places: Sequence[int]) -> list[int]:
        """Return which of the columns hold text in most of their non-empty cells.

        If fewer cells are text, they are mistakes in a column of numbers.

        Raises:
            DataError: the rows differ in length, or the file is damaged.
        """
        words, cells = dict.fromkeys(places, 0), dict.fromkeys(places, 0)
        for batch in self._batches((), places):
            for place, column in zip(places, batch.columns, strict=True):
                cells[place] += len(column) - column.null_count
                if is_text(column.type):
                    for count in _text(column).value_counts().to_pylist():
                        words[place] += count["counts"] * _is_word(count["values"])
        return [place for place in places if 2 * words[place] > cells[place]]

    def where(self, index: int, place: int) -> str:
        """Return the name of a cell for a message."""
        return f"{self.path}, row {self.row(index)}, column {self.names[place]!r}"

    def _refuse_missing(self, column: Any, place: int, start: int) -> None:
        if column.null_count:
            index = start + column.is_null().to_pylist().index(True)
            raise DataError(
                f"{self.where(index, place)}: the cell is empty. Fill it in or drop the row."
            )

    def _numbers(self, column: Any, place: int, start: int) -> NDArray[Any]:
        import pyarrow as pa

        if is_text(column.type):
            with suppress(pa.ArrowInvalid):
                return np.asarray(column.cast(pa.float64()))
            column = column.dictionary_encode()
            known = []
            for text in column.dictionary.to_pylist():
                try:
                    known.append(as_number(text))
                except ValueError:
                    index = start + column.to_pylist().index(text)
                    raise self._no_number(index, place, text) from None
            numbers: NDArray[Any] = np.asarray(known)[column.indices.to_numpy()]
            return numbers
        return _decoded(column)

    def _no_number(self, index: int, place: int, cell: str) -> DataError:
        fix = "Features must be numbers: encode categories (one-hot), fill or drop missing values."
        with suppress(ValueError):
            as_number(cell.replace(",", "."))
            fix = "Write numbers with a decimal point."
        return DataError(f"{self.where(index, place)}: {shown(cell)} is no number. {fix}")

    def _joined(self, parts: list[NDArray[Any]]) -> NDArray[Any]:
        """Return one array; the cells of text all have the length of the longest."""
        if parts and parts[0].dtype != object:
            return np.concatenate(parts)
        words = np.concatenate([np.empty(0, object), *parts])
        longest = max((len(word) for word in words), default=1)
        check_limit(self.path, "bytes", 4 * longest * len(words), "its text would take")
        return words.astype(np.str_)


def place_of(names: Sequence[str], wanted: str, path: Path, fix: str) -> int:
    """Return the place of the column called `wanted`.

    Raises:
        DataError: no column or several have this name; `fix` says what to do.
    """
    found = names.count(wanted)
    if found != 1:
        raise DataError(
            f"{path}: {found or 'no'} columns are called {wanted!r}; the columns are "
            f"{listed(list(names))}. {fix}"
        )
    return names.index(wanted)


def is_text(kind: Any) -> bool:
    """Return whether Arrow's type is text, in a dictionary or not."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _text(column: Any) -> Any:
    """Return a column of text without a dictionary."""
    import pyarrow as pa

    return column.cast(pa.large_string())


def _filled(column: Any) -> Any:
    """Return a column of text with empty strings for empty cells."""
    return _text(column).fill_null("")


def _is_word(cell: str | None) -> bool:
    """Return whether a cell is neither empty nor a number, with a decimal comma or point."""
    if cell is None:
        return False
    try:
        as_number(cell.replace(",", "."))
    except ValueError:
        return True
    return False


def _decoded(column: Any) -> NDArray[Any]:
    """Return a column as NumPy's numbers or truth values, or as Python's text."""
    from pyarrow import types

    if is_text(column.type) and not types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if types.is_dictionary(column.type):  # pandas' categories, too
        entries = column.dictionary.to_pylist()
        values = np.array(entries, object if is_text(column.type) else None)
        decoded: NDArray[Any] = values[column.indices.to_numpy()]
        return decoded
    plain: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return plain
