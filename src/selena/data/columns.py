"""A table of numbers by column name, in full precision (features are kept as float32)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from selena.data.table_csv import as_number
from selena.data.table_parquet import read_frame
from selena.errors import DataError


def read_columns(path: Path) -> dict[str, Float64[np.ndarray, " n"]]:
    """Return the columns of a `.csv` (with a header, UTF-8) or `.parquet` file as float64.

    True and false become 1 and 0.

    Raises:
        DataError: the file is unreadable, of another kind, ragged, or a cell is no number.
        ConfigError: if Parquet support is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    raise DataError(f"{path}: unknown kind of file {path.suffix!r}. Known: .npz, .csv, .parquet.")


def _read_csv(path: Path) -> dict[str, Float64[np.ndarray, " n"]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *lines = [line for line in csv.reader(stream) if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: this is no CSV text in UTF-8 ({error}).") from error
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: there are several columns {', '.join(twice)}. Name each once.")
    if not lines:
        raise DataError(f"{path}: there is no row under the header. Give at least one.")
    values = np.empty((len(lines), len(names)))
    for row, line in enumerate(lines):
        if len(line) != len(names):
            raise DataError(
                f"{path}, row {row + 2}: {len(line)} cells under a header of {len(names)} columns."
            )
        for column, cell in enumerate(line):
            try:
                values[row, column] = as_number(cell)
            except ValueError:
                raise DataError(
                    f"{path}, row {row + 2}, column {names[column]!r}: {cell!r} is no number."
                ) from None
    return dict(zip(names, values.T.copy(), strict=True))


def _read_parquet(path: Path) -> dict[str, Float64[np.ndarray, " n"]]:
    frame, columns = read_frame(path), {}
    for name in frame.column_names:
        try:
            columns[name] = np.asarray(frame[name].to_numpy(), dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: column {name!r} holds no numbers ({error}).") from error
    return columns
