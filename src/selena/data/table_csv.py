"""CSV files with a header: a column of labels, maybe one of groups, all others numbers."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from selena.data.table import Columns, Table
from selena.errors import DataError

# Lines parsed at once, to keep the text of a large file out of memory.
_BLOCK = 4096
Words = dict[str, list[str]]
"""Cells of the columns that are no features: of the "label", and of the "group"."""

_WORDS = {"true": 1.0, "false": 0.0}


def read_csv(path: Path, label_column: str, group_column: str | None = None) -> Table:
    """Read a comma-separated UTF-8 file; rows are counted as in an editor, the header is row 1.

    Raises:
        DataError: if the file is empty or no such text, a named column is missing, rows are
            ragged, or a cell is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            columns = Columns.find(_header(stream, path), label_column, group_column, path)
            table = _read_plain(stream, path, columns)
        if table is not None:
            return table
        with path.open(encoding="utf-8-sig", newline="") as stream:
            _header(stream, path)
            return _read_careful(stream, path, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: this is no CSV text in UTF-8 ({error}).") from error


def _header(stream: TextIO, path: Path) -> list[str]:
    """Return the names of the columns."""
    # readline and not the reader's own iteration, so that the stream can be read on.
    names = [name.strip() for name in next(csv.reader([stream.readline()]), [])]
    if not names:
        raise DataError(f"{path}: the file is empty. Give a header and at least one record.")
    return names


def _read_plain(stream: TextIO, path: Path, columns: Columns) -> Table | None:
    """Read at full speed; None where quotes, a blank line or anything bad need a closer look."""
    numeric, commas = columns.features, len(columns.names) - 1
    features: list[np.ndarray] = []
    words: Words = {what: [] for what in columns.words}
    while numeric and (lines := list(islice(stream, _BLOCK))):
        if any('"' in line or line.count(",") != commas for line in lines):
            return None
        try:
            features.append(
                np.loadtxt(
                    lines, np.float32, delimiter=",", comments=None, usecols=numeric, ndmin=2
                )
            )
        except ValueError:
            return None
        for what, column in columns.words.items():
            words[what] += [line.split(",")[column].strip() for line in lines]
    if not features or not all(map(all, words.values())):
        return None
    x = np.concatenate(features)
    return _table(path, columns, x, words, list(range(2, len(x) + 2)))


def _read_careful(stream: TextIO, path: Path, columns: Columns) -> Table:
    """Read cell by cell: any CSV that the standard library reads, with the place of an error."""
    numeric = columns.features
    cells, rows = array("f"), []
    words: Words = {what: [] for what in columns.words}
    reader = csv.reader(stream)
    end = 1
    for record in reader:
        row, end = end + 1, reader.line_num + 1  # a quoted cell may go over several lines
        if not record:
            continue
        if len(record) != len(columns.names):
            raise DataError(
                f"{path}, row {row}: {len(record)} cells under a header of {len(columns.names)} "
                "columns. Give every row the same number of cells."
            )
        for what, column in columns.words.items():
            words[what].append(record[column].strip())
            if not words[what][-1]:
                raise DataError(
                    f"{path}, row {row}: the {what} is empty. Fill it in or drop the row."
                )
        rows.append(row)
        numbers = [record[column] for column in numeric]
        try:
            cells.extend(map(as_number, numbers))
        except ValueError:
            raise _no_number(numbers, columns.feature_names, f"{path}, row {row}") from None
    x = np.frombuffer(cells, np.float32).reshape(len(rows), len(numeric))
    return _table(path, columns, x, words, rows)


def _no_number(record: list[str], columns: Sequence[str], row: str) -> DataError:
    """Say which of a row's features is the first that is no number."""
    cell, column = next(
        pair for pair in zip(record, columns, strict=True) if not _is_number(pair[0])
    )
    kind = f"{cell!r} is no number" if cell.strip() else "the cell is empty"
    return DataError(
        f"{row}, column {column!r}: {kind}. Features must be numbers: encode categories (one-hot), "
        "fill or drop missing values."
    )


def as_number(cell: str) -> float:
    """Return the number that a cell holds; true and false are 1 and 0.

    Raises:
        ValueError: it holds none.
    """
    word = cell.strip().lower()
    return _WORDS[word] if word in _WORDS else float(word)


def _is_number(cell: str) -> bool:
    try:
        as_number(cell)
    except ValueError:
        return False
    return True


def _table(
    path: Path, columns: Columns, features: np.ndarray, words: Words, rows: list[int]
) -> Table:
    return Table(
        path=path,
        features=features,
        labels=np.array(words["label"], dtype=np.str_),
        columns=columns.feature_names,
        rows=np.array(rows, dtype=np.int64),
        groups=np.array(words["group"], dtype=np.str_) if "group" in words else None,
    )
