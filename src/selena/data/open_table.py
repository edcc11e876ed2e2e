"""Opens a table by the suffix of its name."""

from __future__ import annotations

from pathlib import Path

from selena.data.table_csv import CsvFile
from selena.data.table_file import TableFile
from selena.data.table_parquet import ParquetFile
from selena.errors import DataError
from selena.files.reading import check_is_file


def open_table(path: Path) -> TableFile:
    """Open a `.csv` (with a header, UTF-8) or `.parquet` file.

    Raises:
        DataError: the file is absent, damaged or of another kind.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise unknown_suffix(path)
    check_is_file(path)
    return CsvFile.open(path) if suffix == ".csv" else ParquetFile.open(path)


def unknown_suffix(path: Path) -> DataError:
    """Build the error for a file with an unsupported suffix."""
    suffix = f"unknown kind of file {path.suffix!r}" if path.suffix else "the name has no suffix"
    return DataError(f"{path}: {suffix}. Known: .csv, .npz, .parquet.")
