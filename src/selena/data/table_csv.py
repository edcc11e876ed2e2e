"""CSV files with a header: one column of labels, all others numbers."""

from __future__ import annotations

import csv
from array import array
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from selena.data.table import Table, label_position
from selena.errors import DataError

# Lines parsed at once, to keep the text of a large file out of memory.
_BLOCK = 4096
_WORDS = {"true": 1.0, "false": 0.0}


def read_csv(path: Path, label_column: str) -> Table:
    """Read a comma-separated UTF-8 file; rows are counted as in an editor, the header is row 1.

    Raises:
        DataError: if the file is empty or no such text, the label column is missing, rows are
            ragged, or a cell is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = _read_plain(stream, path, *_header(stream, path, label_column))
        if table is not None:
            return table
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read_careful(stream, path, *_header(stream, path, label_column))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: this is no CSV text in UTF-8 ({error}).") from error


def _header(stream: TextIO, path: Path, label_column: str) -> tuple[list[str], int]:
    """Return the names of the columns, and which of them is the label."""
    # readline and not the reader's own iteration, so that the stream can be read on.
    names = [name.strip() for name in next(csv.reader([stream.readline()]), [])]
    if not names:
        raise DataError(f"{path}: the file is empty. Give a header and at least one record.")
    return names, label_position(names, label_column, path)


def _read_plain(stream: TextIO, path: Path, names: list[str], label: int) -> Table | None:
    """Read at full speed; None where quotes, a blank line or anything bad need a closer look."""
    numeric = [column for column in range(len(names)) if column != label]
    columns = [names[column] for column in numeric]
    features, labels = [], []
    while numeric and (lines := list(islice(stream, _BLOCK))):
        if any('"' in line or line.count(",") != len(numeric) for line in lines):
            return None
        try:
            features.append(
                np.loadtxt(
                    lines, np.float32, delimiter=",", comments=None, usecols=numeric, ndmin=2
                )
            )
        except ValueError:
            return None
        labels += [line.split(",")[label].strip() for line in lines]
    if not features or not all(labels):
        return None
    x = np.concatenate(features)
    return _table(path, columns, x, labels, list(range(2, len(labels) + 2)))


def _read_careful(stream: TextIO, path: Path, names: list[str], label: int) -> Table:
    """Read cell by cell: any CSV that the standard library reads, with the place of an error."""
    columns = names[:label] + names[label + 1 :]
    cells, labels, rows = array("f"), [], []
    reader = csv.reader(stream)
    end = 1
    for record in reader:
        row, end = end + 1, reader.line_num + 1  # a quoted cell may go over several lines
        if not record:
            continue
        if len(record) != len(names):
            raise DataError(
                f"{path}, row {row}: {len(record)} cells under a header of {len(names)} columns. "
                "Give every row the same number of cells."
            )
        labels.append(record.pop(label).strip())
        if not labels[-1]:
            raise DataError(f"{path}, row {row}: the label is empty. Fill it in or drop the row.")
        rows.append(row)
        try:
            cells.extend(map(as_number, record))
        except ValueError:
            raise _no_number(record, columns, f"{path}, row {row}") from None
    x = np.frombuffer(cells, np.float32).reshape(len(rows), len(columns))
    return _table(path, columns, x, labels, rows)


def _no_number(record: list[str], columns: list[str], row: str) -> DataError:
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
    path: Path,
    columns: list[str],
    features: np.ndarray,
    labels: list[str],
    rows: list[int],
) -> Table:
    return Table(
        path=path,
        features=features,
        labels=np.array(labels, dtype=np.str_),
        columns=tuple(columns),
        rows=np.array(rows, dtype=np.int64),
    )
