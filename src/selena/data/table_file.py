"""Tables with named columns in `.csv` and `.parquet` files, read by Apache Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from selena.data.cells import listed
from selena.errors import DataError
from selena.reading import check_is_file, check_limit


@dataclass(frozen=True, eq=False)
class Cells:
    """What some columns hold.

    Attributes:
        numbers: one row per record, one column per column of numbers.
        words: one array per column that may hold words: text of a CSV file, stripped; numbers,
            truth values or text of a Parquet file.
        row: the number that the user of the file gives to a record: in a CSV file the line it
            begins on, the header being line 1.
    """

    numbers: NDArray[Any]
    words: list[NDArray[Any]]
    row: Callable[[int], int]


@runtime_checkable
class TableFile(Protocol):
    """A file of named columns."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, in order."""

    def read(
        self, numbers: Sequence[int], words: Sequence[int], kind: type[np.floating[Any]]
    ) -> Cells:
        """Return the cells of the columns at these places; nothing is asked of any others.

        Args:
            numbers: columns that must hold numbers (true and false are 1 and 0).
            words: columns that may hold anything but nothing.
            kind: type of the numbers; of a Parquet file that holds no more it is float32.

        Raises:
            DataError: a cell is missing or no number, the rows differ in length, or the file is
                damaged.
        """


def open_table(path: Path) -> TableFile:
    """Open a `.csv` (with a header, UTF-8) or `.parquet` file.

    Raises:
        DataError: the file is absent, damaged or of another kind.
    """
    from selena.data.table_csv import CsvFile
    from selena.data.table_parquet import ParquetFile

    openers: dict[str, Callable[[Path], TableFile]] = {
        ".csv": CsvFile.open,
        ".parquet": ParquetFile.open,
    }
    suffix = path.suffix.lower()
    if suffix not in openers:
        raise unknown_suffix(path)
    check_is_file(path)
    return openers[suffix](path)


def unknown_suffix(path: Path) -> DataError:
    """Build the error for a file of a kind that nobody reads."""
    suffix = f"unknown kind of file {path.suffix!r}" if path.suffix else "the name has no suffix"
    return DataError(f"{path}: {suffix}. Known: .csv, .npz, .parquet.")


def place_of(names: Sequence[str], wanted: str, path: Path, fix: str) -> int:
    """Return the place of the one column that has a name.

    Raises:
        DataError: none has it, or several have; `fix` says what to do then.
    """
    found = names.count(wanted)
    if found != 1:
        raise DataError(
            f"{path}: {found or 'no'} columns are called {wanted!r}; the columns are "
            f"{listed(list(names))}. {fix}"
        )
    return names.index(wanted)


def join_words(parts: Iterable[NDArray[Any]], where: str) -> NDArray[Any]:
    """Return text as one array, whose cells all have the length of the longest."""
    words = np.concatenate([np.empty(0, object), *parts])
    longest = max((len(word) for word in words), default=1)
    check_limit(where, "bytes", 4 * longest * len(words), "its text would take")
    return words.astype(np.str_)
