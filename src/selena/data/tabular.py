"""Loads a user's own records from `.npz`, `.csv` or `.parquet`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from selena.data.open_table import unknown_suffix
from selena.data.table import RecordTable, read_arrays, read_table
from selena.files.reading import border, check_is_file
from selena.types import Dataset

READERS: dict[str, Callable[[Path, str, str | None], RecordTable]] = {
    ".csv": read_table,
    ".npz": lambda path, label_column, subject_column: read_arrays(path, subject_column),
    ".parquet": read_table,
}
"""File suffix -> reader; only tables with named columns use the label column."""


def load_file(
    path: Path, *, label_column: str = "label", subject_column: str | None = None
) -> Dataset:
    """Return the records of a file.

    `.npz` holds arrays `x` (or `features`), n x d, and `y` (or `labels`), n, and may declare
    `num_classes`. `.csv` (with a header, UTF-8) and `.parquet` hold one column per feature and
    `label_column`; columns of text are hashed (`selena.data.text_columns`). The column or array
    `subject_column` says which records belong together (`Records.subjects`). Integer or string
    labels are numbered 0..C-1 in their order. Half of the records are members by default.

    Raises:
        DataError: if the file is absent, unreadable or of another kind, or a value in it cannot
            be used for training; the message names the row and column.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise unknown_suffix(path)
    check_is_file(path)
    with border(path, "the file is damaged"):
        return reader(path, label_column, subject_column).to_dataset()
